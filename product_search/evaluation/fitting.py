"""Curves, lines and ramps, fitted on the hits of judged queries: arithmetic, without a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from data_models import Leg
from product_search.evaluation.judged import JudgedQuery
from product_search.evaluation.measures.showing import Answer, Answers, Showing
from product_search.search.calibration import Calibration, Curve
from product_search.search.fusion import Floats

# A dense leg's ranks begin to count at the best score that this share of the queries without a
# match stay below.
_OUTLIERS = 0.1
_SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
_LINES = 60  # lines that are tried: quantiles of the queries' best confidences
_MOST_LOST = 0.03  # the share of the queries with a match that may be told of none
# What the share is for: docs/decisions/0029. An aim and a little more, so that another shop that
# is not quite like these reaches it.
_PRECISION, _RECALL = 0.72, 0.90


@dataclass(frozen=True, eq=False)
class JudgedHits:
    """A query's hits: their features, and which of them fit."""

    query: JudgedQuery
    features: Mapping[str, Floats]
    fits: NDArray[np.bool_]


def judged_hits(queries: Iterable[JudgedQuery], calibration: Calibration) -> list[JudgedHits]:
    """Return the hits of each query, as searches by this calibration find them."""
    found = []
    for query in queries:
        recall = query.recall(calibration)
        found.append(JudgedHits(query, recall.features, query.fits(recall)))
    return found


def fit_ramp(leg: Leg, queries: Iterable[JudgedQuery]) -> tuple[float, float]:
    """Return the leg's best scores between which ranks count from not at all to in full."""
    best: dict[bool, list[float]] = {True: [], False: []}
    for query in queries:
        hits = query.hits.get(leg)
        if hits is not None and len(hits):
            best[query.has_match].append(float(hits.scores.max()))
    low, high = np.quantile(best[False], _OUTLIERS), np.quantile(best[True], 0.5)
    return round(float(low), 4), round(max(float(high), float(low) + 0.05), 4)


def fit_curve(hits: Sequence[JudgedHits]) -> Curve:
    """Fit the probability that a hit fits, and from which confidence on hits are shown.

    Hits of queries that look for nothing have no features, and count for neither.
    """
    some = [one for one in hits if len(one.fits) and one.features]
    names = sorted(some[0].features)
    columns = [[one.features[name] for name in names] for one in some]
    values = np.concatenate([np.stack(column, axis=1) for column in columns])
    fits = np.concatenate([one.fits for one in some])
    scaler = StandardScaler().fit(values)
    model = LogisticRegression(max_iter=10_000).fit(scaler.transform(values), fits)
    weights = model.coef_[0] / scaler.scale_
    curve = Curve(
        coefficients={name: round(float(one), 6) for name, one in zip(names, weights, strict=True)},
        intercept=round(float(model.intercept_[0] - weights @ scaler.mean_), 6),
        line=0.0,
    )
    line, share = fit_line(answers_of(hits, curve).within_a_page())
    return curve.model_copy(update={"line": round(line, 6), "share": share})


def answers_of(hits: Sequence[JudgedHits], curve: Curve) -> Answers:
    """Return the hits of all queries with their confidences; 1 for those that are just listed."""
    return Answers.join(
        Answer(
            curve.confidences(one.features) if one.features else np.ones(len(one.fits)),
            one.fits,
            has_match=one.query.has_match,
            is_absent=one.query.is_absent,
        )
        for one in hits
    )


def fit_line(answers: Answers) -> tuple[float, float]:
    """Return the line, and the share of the best confidence from which a query's hits are shown.

    To be told of no match where there is one is worse than to be shown the nearest.
    """
    tried = np.unique(np.quantile(answers.best, np.linspace(0, 0.7, _LINES)))
    by_line = {float(line): answers.showing(float(line), 0.0) for line in [0.0, *tried]}
    most = max(_MOST_LOST, by_line[0.0].lost)
    allowed = {line: found for line, found in by_line.items() if found.lost <= most}
    line = max(allowed, key=lambda one: _told(allowed[one]))
    share = min(_SHARES, key=lambda one: _shortfall(answers.showing(line, one)))
    return line, share


def _told(found: Showing) -> float:
    """Return the F-measure of being told of no match, in which precision counts twice."""
    precision, recall = found.told_precision, found.told_recall
    return 1.25 * precision * recall / max(0.25 * precision + recall, 1e-9)


def _shortfall(found: Showing) -> float:
    """Return by how much the aims are missed; of what misses as little, the best has the least."""
    precision, recall = found.precision, found.recall
    missed = max(0.0, _PRECISION - precision) + max(0.0, _RECALL - recall)
    return missed - 0.02 * (precision + recall)
