"""Recall: the legs of a plan searched at the same time, fused, each hit with its confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

from data_models import Hit, Leg, SearchFilters, SearchMode, VectorField
from product_search.milvus.searches import EntitySearch, TermSearch, VectorSearch
from product_search.search.calibration import Calibration, Curve
from product_search.search.fusion import FusedHit, LegRank, RankedLeg, fuse, ramp, rank_hits
from product_search.search.inputs import Weighted
from product_search.search.plan import (
    COVERAGE,
    FIELDS,
    PHRASE,
    PHRASE_COVERAGE,
    LegVectors,
    Plan,
)
from product_search.text.query import QueryText
from vector_db import EntityCollection

# How deep each leg of a hybrid search is read. One depth for all its pages: of a deeper leg the
# entities far down add to their fused scores, and would stand elsewhere on the next page.
HYBRID_DEPTH = 128
_UNWANTED_COVERAGE = 0.85  # the coverage of an unwanted text from which a product is left out
_FIELDS_BY_NAME = {leg.value: field for leg, field in FIELDS.items()}
LegHits = Mapping[Leg, Sequence[Hit]]
Features = Mapping[str, float]


class RecalledHit(NamedTuple):
    """An entity that may answer the query; a higher score is better."""

    milvus_id: int
    score: float
    confidence: float | None  # None: nothing was fitted for these encoders and legs
    field: VectorField
    features: Features
    ranks: Mapping[str, LegRank]


@dataclass(frozen=True)
class Recall:
    """The hits, best first; complete where no leg has more."""

    hits: Sequence[RecalledHit]
    is_complete: bool


def recall(
    entities: EntityCollection,
    plan: Plan,
    vectors: LegVectors,
    filters: SearchFilters,
    calibration: Calibration,
    limit: int,
) -> Recall:
    """Search each leg of the plan for up to `limit` entities, and fuse what they find.

    Raises:
        VectorStoreUnavailable: the vector store does not answer.
        Overloaded: too many searches wait for it.
    """
    if plan.asks_nothing:
        return Recall([], is_complete=True)
    watch = plan.query.watch
    with watch.stage("recall"):
        searches = {leg: _leg_search(leg, plan, vectors, filters, limit) for leg in plan.legs}
        wanted = {leg: search for leg, search in searches.items() if search is not None}
        found = dict(zip(wanted, entities.search_all(list(wanted.values())), strict=True))
        hits: LegHits = {leg: found.get(leg, []) for leg in plan.legs}
    with watch.stage("fuse"):
        is_complete = all(len(of_leg) < limit for of_leg in hits.values())
        return Recall(fuse_legs(plan, hits, calibration), is_complete)


def fuse_legs(plan: Plan, hits: LegHits, calibration: Calibration) -> list[RecalledHit]:
    """Return the hits of all legs in one order, best first, without those that are unwanted."""
    features = _features(plan, hits)
    fused = _fuse(plan, hits, features, calibration)
    curve = calibration.curve(plan.feature_names)
    return [_recalled(hit, features[hit.milvus_id], curve) for hit in fused]


def _leg_search(
    leg: Leg, plan: Plan, vectors: LegVectors, filters: SearchFilters, limit: int
) -> EntitySearch | None:
    """Return the search of a leg; None where the query has no terms for it."""
    if leg is Leg.bm25:
        terms = plan.inputs.bm25_terms
        return TermSearch(terms, limit, filters) if terms else None
    is_hybrid = plan.mode is SearchMode.hybrid
    return VectorSearch(FIELDS[leg], vectors[leg], limit, filters, is_hybrid)


def _features(plan: Plan, hits: LegHits) -> dict[int, dict[str, float]]:
    """Return each wanted entity's features, by milvus_id.

    Where a leg did not find the entity, its score is the lowest that the leg found.
    """
    matches = _matches(plan, hits)
    unwanted = _unwanted(plan, matches)
    features: dict[int, dict[str, float]] = {
        hit.milvus_id: {}
        for of_leg in hits.values()
        for hit in of_leg
        if hit.milvus_id not in unwanted
    }
    for leg, of_leg in hits.items():
        if leg is not Leg.bm25:
            scores = {hit.milvus_id: hit.score for hit in of_leg}
            lowest = min(scores.values(), default=0.0)
            name = leg.value
            for milvus_id, known in features.items():
                known[name] = scores.get(milvus_id, lowest)
    is_phrase = float(any(text.is_phrase for text in plan.inputs.wanted_texts))
    if Leg.bm25 in hits:
        # Many products match the same of the query's terms.
        coverage = cache(partial(_coverage, plan.inputs.texts))
        for milvus_id, known in features.items():
            known[COVERAGE] = coverage(matches[milvus_id])
            known[PHRASE_COVERAGE] = is_phrase * known[COVERAGE]
    if PHRASE in plan.feature_names:
        for known in features.values():
            known[PHRASE] = is_phrase
    return features


def _matches(plan: Plan, hits: LegHits) -> dict[int, frozenset[str]]:
    """Return by milvus_id which of the query's terms each entity has, where any are looked at."""
    if Leg.bm25 not in hits and not plan.inputs.unwanted_texts:
        return {}
    asked = frozenset[str]().union(
        *(span.terms for text in plan.inputs.texts for span in text.value.spans)
    )
    terms = {hit.milvus_id: hit.terms for of_leg in hits.values() for hit in of_leg}
    return {milvus_id: asked.intersection(text.split()) for milvus_id, text in terms.items()}


def _coverage(texts: Sequence[Weighted[QueryText]], terms: frozenset[str]) -> float:
    """Return the mean coverage of the wanted texts, by their weights."""
    wanted = [text for text in texts if text.weight > 0]
    covered = sum(text.weight * text.value.coverage(terms) for text in wanted)
    return covered / sum(text.weight for text in wanted)


def _unwanted(plan: Plan, matches: Mapping[int, frozenset[str]]) -> set[int]:
    """Return the entities that the query excludes, or whose terms say what it does not want."""
    texts = plan.inputs.unwanted_texts
    said = {
        terms
        for terms in (set(matches.values()) if texts else ())
        if any(text.coverage(terms) >= _UNWANTED_COVERAGE for text in texts)
    }
    return {*plan.inputs.excluded, *(key for key, terms in matches.items() if terms in said)}


def _fuse(
    plan: Plan, hits: LegHits, features: Mapping[int, Features], calibration: Calibration
) -> list[FusedHit]:
    rankings = {
        leg: rank_hits((hit.milvus_id, hit.score) for hit in of_leg if hit.milvus_id in features)
        for leg, of_leg in hits.items()
    }
    if plan.mode is not SearchMode.hybrid:
        ((leg, ranking),) = rankings.items()
        return [
            FusedHit(milvus_id, score, {leg.value: LegRank(rank, score, score)})
            for rank, (milvus_id, score) in enumerate(ranking, start=1)
        ]
    coverage = {key: known[COVERAGE] for key, known in features.items() if COVERAGE in known}
    return fuse(
        RankedLeg(
            leg.value,
            plan.legs[leg] * _reliability(leg, ranking, calibration),
            ranking,
            coverage if leg is Leg.bm25 else {},
        )
        for leg, ranking in rankings.items()
    )


def _reliability(leg: Leg, ranking: Sequence[tuple[int, float]], calibration: Calibration) -> float:
    """Return from 0 to 1 what a leg's ranks are worth for this query, by its best score."""
    ends = calibration.ramps.get(leg.value)
    return ramp(ranking[0][1], *ends) if ends and ranking else 1.0


def _recalled(hit: FusedHit, features: Features, curve: Curve | None) -> RecalledHit:
    _, best = max((rank.contribution, name) for name, rank in hit.ranks.items())
    return RecalledHit(
        milvus_id=hit.milvus_id,
        score=hit.score,
        confidence=curve.confidence(features) if curve else None,
        field=_FIELDS_BY_NAME[best],
        features=features,
        ranks=hit.ranks,
    )
