"""Ranking measures by ir-measures, their intervals and paired tests by SciPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ir_measures
import numpy as np
from ir_measures import RR, R, nDCG
from scipy.stats import bootstrap, permutation_test

from product_search.evaluation.sets.trec import Qrels

DEPTH = 100  # hits of a search
FITS = 2  # the grade from which a product counts for recall and for the first hit
# As they are printed, in this order.
MEASURES = {
    "recall@1": R(rel=FITS) @ 1,
    "recall@5": R(rel=FITS) @ 5,
    "recall@10": R(rel=FITS) @ 10,
    "ndcg@10": nDCG @ 10,
    "mrr@10": RR(rel=FITS) @ 10,
}
RESAMPLES = 9999
SEED = 1

Rankings = Mapping[str, Sequence[str]]  # skus, best first, by query id
PerQuery = dict[str, dict[str, float]]  # values by query id, by measure


@dataclass(frozen=True)
class Estimate:
    """A mean over queries and its bootstrap interval of 95 %."""

    mean: float
    low: float
    high: float


def per_query(qrels: Qrels, rankings: Rankings) -> PerQuery:
    """Measure every judged query; a query without hits has 0."""
    scores = {
        qid: {sku: float(-place) for place, sku in enumerate(rankings.get(qid, ()))}
        for qid in qrels
    }
    names = {str(measure): name for name, measure in MEASURES.items()}
    values: PerQuery = {name: dict.fromkeys(qrels, 0.0) for name in MEASURES}
    for metric in ir_measures.iter_calc(list(MEASURES.values()), qrels, scores):
        values[names[str(metric.measure)]][metric.query_id] = float(metric.value)
    return values


def estimate(values: Sequence[float]) -> Estimate:
    """Estimate the mean of at least one value."""
    mean = float(np.mean(values))
    if len(set(values)) == 1:  # SciPy makes no interval of equal values
        return Estimate(mean, mean, mean)
    interval = bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=SEED
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Difference:
    """A mean difference over queries with its interval, and the p of a paired test."""

    estimate: Estimate
    p: float


def compare(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Difference:
    """Compare ours less theirs over the queries that both have; p is two-sided, by permutation."""
    shared = sorted(ours.keys() & theirs.keys())
    differences = np.array([ours[qid] - theirs[qid] for qid in shared])
    if not differences.any():
        return Difference(Estimate(0.0, 0.0, 0.0), 1.0)
    test = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=SEED
    )
    return Difference(estimate(list(differences)), float(test.pvalue))
