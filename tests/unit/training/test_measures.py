"""Ranking measures on hand-computed cases."""

from __future__ import annotations

import numpy as np
import pytest

from product_search.training.starter.measures import (
    average_precision,
    bootstrap_interval,
    image_to_image_precisions,
    own_ranks,
    precision,
    score_rankings,
)


def test_average_precision_is_the_mean_of_precisions_at_relevant_ranks() -> None:
    relevant = np.array([True, False, True, False])
    assert average_precision(relevant) == pytest.approx((1 + 2 / 3) / 2)


def test_average_precision_divides_by_the_depth_when_more_is_relevant_than_fits() -> None:
    assert average_precision(np.array([True, True, True, True]), depth=2) == pytest.approx(1.0)
    assert average_precision(np.array([False, True, True, True]), depth=2) == pytest.approx(0.25)


def test_precision_lets_a_class_of_two_reach_one() -> None:
    relevant = np.array([True, True] + [False] * 20)
    assert precision(relevant) == pytest.approx(1.0)
    assert precision(relevant[::-1]) == pytest.approx(0.0)


def test_queries_without_anything_relevant_do_not_count() -> None:
    scores = np.array([[0.1, 0.9], [0.3, 0.2]])
    figures = score_rankings(scores, np.array([[True, False], [False, False]]))
    assert figures.average_precisions.tolist() == [0.5]
    assert figures.precisions.tolist() == [1.0]


def test_an_image_looked_up_never_counts_as_its_own_hit() -> None:
    crowd, twins, strangers = [[1, 0, 0]] * 12, [[0, 1, 0]] * 2, [[0, 0, 1], [0, 0, -1]]
    embeddings = np.array([*crowd, *twins, *strangers], np.float64)
    labels = np.array(["a"] * 12 + ["b"] * 2 + ["c"] * 2)
    # Crowd and twins find their own; each stranger ranks the other last, beyond ten.
    assert image_to_image_precisions(embeddings, labels).mean() == pytest.approx(14 / 16)


def test_a_rank_counts_what_scores_as_high_against_the_right_item() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.5], [0.1, 0.2, 0.3]])
    assert own_ranks(scores).tolist() == [1, 3, 1]


def test_an_interval_holds_the_mean_and_narrows_with_more_queries() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.random(20), rng.random(2000)
    for values in (few, many):
        mean, low, high = bootstrap_interval(values)
        assert low < mean < high
        assert mean == pytest.approx(values.mean())
    widths = [
        bootstrap_interval(values)[2] - bootstrap_interval(values)[1] for values in (few, many)
    ]
    assert widths[1] < widths[0] / 5
