"""Measures of rankings by ir-measures, their intervals and paired tests by SciPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ir_measures
import numpy as np
from ir_measures import RR, R, nDCG
from scipy.stats import bootstrap, permutation_test

from product_search.evaluation.sets.trec import Qrels

DEPTH = 100  # hits that are asked for
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

Run = Mapping[str, Sequence[str]]  # skus, best first, by query id
PerQuery = dict[str, dict[str, float]]  # values by query id, by measure


@dataclass(frozen=True)
class Estimate:
    """A mean over queries and its bootstrap interval of 95 %."""

    mean: float
    low: float
    high: float


def per_query(qrels: Qrels, run: Run) -> PerQuery:
    """Every measure of every judged query; one that found nothing has 0."""
    scores = {
        qid: {sku: float(-place) for place, sku in enumerate(run.get(qid, ()))} for qid in qrels
    }
    names = {str(measure): name for name, measure in MEASURES.items()}
    values: PerQuery = {name: dict.fromkeys(qrels, 0.0) for name in MEASURES}
    for found in ir_measures.iter_calc(list(MEASURES.values()), qrels, scores):
        values[names[str(found.measure)]][found.query_id] = float(found.value)
    return values


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of at least one value."""
    mean = float(np.mean(values))
    if len(set(values)) == 1:  # of which SciPy makes no interval
        return Estimate(mean, mean, mean)
    interval = bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=SEED
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Difference:
    """A mean difference over queries, its bootstrap interval and its p."""

    estimate: Estimate
    p: float


def compare(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Difference:
    """Ours less theirs over the queries that both have; p is two-sided, by permutation."""
    shared = sorted(ours.keys() & theirs.keys())
    differences = np.array([ours[qid] - theirs[qid] for qid in shared])
    if not differences.any():
        return Difference(Estimate(0.0, 0.0, 0.0), 1.0)
    tested = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=SEED
    )
    return Difference(estimate(list(differences)), float(tested.pvalue))
