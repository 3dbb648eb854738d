"""How a pair of image and title stands beside a sample of others."""

from __future__ import annotations

import numpy as np
import pytest

from product_search.insights.disagreement import NEAREST, ImageTitlePairs, relative_scores


def pairs_of(pictures: np.ndarray, titles: np.ndarray, first_key: int = 0) -> ImageTitlePairs:
    def unit(vectors: np.ndarray) -> np.ndarray:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / lengths, np.float32)

    keys = np.arange(first_key, first_key + len(pictures))
    return ImageTitlePairs(keys, unit(pictures), unit(titles))


def alike(count: int, dim: int = 64) -> ImageTitlePairs:
    random = np.random.default_rng(3)
    titles = random.normal(size=(count, dim))
    return pairs_of(titles + random.normal(size=(count, dim)), titles)


def test_without_others_a_pair_stands_as_its_score() -> None:
    one = alike(1)
    assert relative_scores(one, one) == pytest.approx(one.scores)


def test_a_products_own_image_and_title_are_not_what_it_is_held_against() -> None:
    two = pairs_of(np.eye(2, 4), np.eye(2, 4))
    assert relative_scores(two, two) == pytest.approx([1, 1])


def test_it_is_the_score_less_the_mean_of_the_nearest_on_both_sides() -> None:
    some = alike(40)
    found = relative_scores(some, some)
    for place in range(40):
        others = np.arange(40) != place
        titles = np.sort(some.titles[others] @ some.images[place])[-NEAREST:]
        pictures = np.sort(some.images[others] @ some.titles[place])[-NEAREST:]
        usual = (titles.mean() + pictures.mean()) / 2
        assert found[place] == pytest.approx(some.scores[place] - usual, abs=1e-5)


def test_those_of_a_page_stand_as_they_do_among_all() -> None:
    some = alike(40)
    page = ImageTitlePairs(some.keys[10:20], some.images[10:20], some.titles[10:20])
    assert relative_scores(page, some) == pytest.approx(
        relative_scores(some, some)[10:20], abs=1e-5
    )


def test_swapped_images_stand_lowest() -> None:
    some = alike(40)
    pictures = some.images.copy()
    pictures[[3, 9]] = pictures[[9, 3]]
    swapped = ImageTitlePairs(some.keys, pictures, some.titles)
    assert set(np.argsort(relative_scores(swapped, swapped))[:2]) == {3, 9}
