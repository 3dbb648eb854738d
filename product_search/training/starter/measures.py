"""Ranking measures, per query, and bootstrap intervals over queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from product_search.training.starter.text_space import Floats

Bools = NDArray[np.bool_]

MAP_DEPTH = 100
PRECISION_DEPTH = 10
RESAMPLES = 2000


@dataclass(frozen=True)
class RankingScores:
    """Average precision and precision of each query that has relevant items."""

    average_precisions: Floats
    precisions: Floats


def average_precision(relevant: Bools, depth: int = MAP_DEPTH) -> float:
    """Sum the precision at each relevant rank up to depth, over min(relevant, depth)."""
    total = int(relevant.sum())
    if total == 0:
        return 0.0
    top = relevant[:depth]
    precisions = np.cumsum(top) / np.arange(1, len(top) + 1)
    return float((precisions * top).sum() / min(total, depth))


def precision(relevant: Bools, depth: int = PRECISION_DEPTH) -> float:
    """Count the relevant items up to depth, over min(relevant, depth)."""
    total = int(relevant.sum())
    return float(relevant[:depth].sum() / min(total, depth)) if total else 0.0


def score_rankings(scores: Floats, relevant: Bools) -> RankingScores:
    """Score the rankings by scores (queries, items), higher first.

    Queries without relevant items are left out.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    rows = np.take_along_axis(relevant, order, axis=1)
    rows = rows[rows.any(axis=1)]
    return RankingScores(
        np.array([average_precision(row) for row in rows]),
        np.array([precision(row) for row in rows]),
    )


def image_to_image_precisions(embeddings: Floats, labels: NDArray[np.str_]) -> Floats:
    """Return P@10 of each image among the others; images alone of their label are left out."""
    scores = embeddings @ embeddings.T
    relevant = labels[:, None] == labels[None, :]
    others = ~np.eye(len(labels), dtype=np.bool_)
    scores = scores[others].reshape(len(labels), -1)
    return score_rankings(scores, relevant[others].reshape(len(labels), -1)).precisions


def own_ranks(scores: Floats) -> NDArray[np.int64]:
    """Return the rank, from 1, of item i for query i; ties count against it."""
    own = np.diag(scores)
    return np.asarray((scores >= own[:, None]).sum(axis=1), np.int64)


def as_floats(successes: Bools) -> Floats:
    """Return 1 for each query that succeeds, else 0."""
    return successes.astype(np.float64)


def bootstrap_interval(values: Floats, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean, and the 2.5 and 97.5 percentiles of the means of bootstrap resamples."""
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    means = values[drawn].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)
