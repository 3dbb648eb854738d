"""Principal components by batches are those of all vectors at once."""

from __future__ import annotations

import numpy as np
import pytest

from product_search.insights.pca import Covariance, Plane


def spread_of(vectors: np.ndarray, batch: int) -> Plane:
    covariance = Covariance()
    for start in range(0, len(vectors), batch):
        covariance.add(vectors[start : start + batch])
    return covariance.plane()


def clouds() -> np.ndarray:
    random = np.random.default_rng(7)
    stretched = random.normal(size=(500, 24)) * np.linspace(3, 0.1, 24)
    return (stretched + random.normal(size=24)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_batches_give_the_components_of_the_whole(batch: int) -> None:
    vectors = clouds()
    plane = spread_of(vectors, batch)
    centred = vectors - vectors.mean(axis=0)
    _, sizes, rows = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    assert np.abs(np.einsum("nd,nd->n", plane.axes, rows[:2])) == pytest.approx(1, abs=1e-6)
    assert plane.explained == pytest.approx(tuple(sizes[:2] ** 2 / (sizes**2).sum()), rel=1e-5)
    places = plane.project(vectors)
    assert places.shape == (500, 2)
    assert places.mean(axis=0) == pytest.approx((0, 0), abs=1e-5)
    assert places.var(axis=0)[0] > places.var(axis=0)[1]


def test_the_sign_does_not_depend_on_the_order_of_the_vectors() -> None:
    vectors = clouds()
    forth, back = spread_of(vectors, 64), spread_of(vectors[::-1], 50)
    assert forth.project(vectors) == pytest.approx(back.project(vectors), abs=1e-4)
    for axis in forth.axes:
        assert axis[np.abs(axis).argmax()] > 0


def test_no_vectors_and_equal_vectors_explain_nothing() -> None:
    nothing = Covariance()
    nothing.add(np.zeros((0, 4), np.float32))
    assert nothing.plane().explained == (0.0, 0.0)
    same = spread_of(np.full((5, 4), 0.5, np.float32), 2)
    assert same.explained == (0.0, 0.0)
    assert same.project(np.full((2, 4), 0.5, np.float32)) == pytest.approx(0, abs=1e-6)
    assert same.project(np.zeros((0,), np.float32)).shape == (0, 2)


def test_vectors_on_a_line_are_explained_by_the_first_axis() -> None:
    along = np.outer(np.arange(9), [3.0, 4.0, 0.0]).astype(np.float32)
    plane = spread_of(along, 4)
    assert plane.explained == pytest.approx((1.0, 0.0), abs=1e-9)
    assert plane.project(along)[:, 0] == pytest.approx(5 * (np.arange(9) - 4), abs=1e-5)
