"""From a plan to candidates: legs searched at the same time, fused, each with its confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from data_models import Hit, Leg, SearchFilters, SearchMode, VectorField
from product_search.search.calibration import Calibration, Curve
from product_search.search.fusion import Fused, Part, RankedLeg, fuse, ramp, ranked
from product_search.search.plan import (
    COVERAGE,
    FIELDS,
    PHRASE,
    PHRASE_COVERAGE,
    LegVectors,
    Plan,
    Weighted,
)
from product_search.text.query import QueryText
from vector_db import VectorStore

# How deep each leg of a hybrid search is read. One depth for all its pages: of a deeper leg the
# entities far down add to their fused scores, and would stand elsewhere on the next page.
HYBRID_DEPTH = 128
_HAS_IT = 0.85  # the coverage of an unwanted text from which a product is that


@dataclass(frozen=True)
class Candidate:
    """An entity that may be a hit; a higher score is better."""

    milvus_id: int
    score: float
    confidence: float | None  # None: nothing was fitted for these encoders and legs
    field: VectorField
    features: Mapping[str, float]
    parts: Mapping[str, Part]


@dataclass(frozen=True)
class Candidates:
    """Best first; `is_whole` where no leg has more."""

    found: Sequence[Candidate]
    is_whole: bool


def recall(
    store: VectorStore,
    threads: Executor,
    plan: Plan,
    vectors: LegVectors,
    filters: SearchFilters,
    calibration: Calibration,
    limit: int,
) -> Candidates:
    """The candidates of the plan's legs, each of which is read to `limit`.

    Raises VectorStoreUnavailable.
    """
    if plan.asks_nothing:
        return Candidates([], is_whole=True)
    legs = list(plan.legs)
    tasks = [partial(_hits, store, leg, plan, vectors, filters, limit) for leg in legs]
    waiting = [threads.submit(task) for task in tasks[1:]]
    found = {legs[0]: tasks[0]()}
    found |= {leg: each.result() for leg, each in zip(legs[1:], waiting, strict=True)}
    is_whole = all(len(hits) < limit for hits in found.values())
    return Candidates(weigh(plan, found, calibration), is_whole)


def weigh(plan: Plan, found: Mapping[Leg, list[Hit]], calibration: Calibration) -> list[Candidate]:
    """What the plan's legs have found as one list, best first; what is unwanted is left out."""
    features = _features(plan, found)
    fused = _fused(plan, found, features, calibration)
    curve = calibration.curve(plan.feature_names)
    return [_candidate(one, features[one.milvus_id], curve) for one in fused]


def _hits(
    store: VectorStore,
    leg: Leg,
    plan: Plan,
    vectors: LegVectors,
    filters: SearchFilters,
    limit: int,
) -> list[Hit]:
    if leg is Leg.bm25:
        terms = " ".join(text.terms for text in plan.inputs.wanted_texts).strip()
        return store.search_text(terms, limit, filters) if terms else []
    vector = vectors.of(leg, plan.inputs)
    is_hybrid = plan.mode is SearchMode.hybrid
    return store.search(FIELDS[leg], vector, limit, filters, with_terms=is_hybrid)


def _features(plan: Plan, found: Mapping[Leg, list[Hit]]) -> dict[int, dict[str, float]]:
    """By milvus_id. Of an entity that a leg has not found, the lowest score that it has found."""
    features: dict[int, dict[str, float]] = {
        hit.milvus_id: {} for hits in found.values() for hit in hits
    }
    for leg, hits in found.items():
        if leg is not Leg.bm25:
            scores = {hit.milvus_id: hit.score for hit in hits}
            lowest = min(scores.values(), default=0.0)
            for milvus_id, known in features.items():
                known[leg.value] = scores.get(milvus_id, lowest)
    is_phrase = float(any(text.is_phrase for text in plan.inputs.wanted_texts))
    if Leg.bm25 in found:
        terms = {hit.milvus_id: hit.terms for hits in found.values() for hit in hits}
        for milvus_id, known in features.items():
            known[COVERAGE] = _coverage(plan.inputs.texts, terms[milvus_id])
            known[PHRASE_COVERAGE] = is_phrase * known[COVERAGE]
    if PHRASE in plan.feature_names:
        features = {key: known | {PHRASE: is_phrase} for key, known in features.items()}
    unwanted = _unwanted(plan, found)
    return {key: known for key, known in features.items() if key not in unwanted}


def _coverage(texts: Sequence[Weighted[QueryText]], terms: str) -> float:
    """The mean of the wanted texts', by their weights."""
    there = frozenset(terms.split())
    wanted = [text for text in texts if text.weight > 0]
    covered = sum(text.weight * text.thing.coverage(there) for text in wanted)
    return covered / sum(text.weight for text in wanted)


def _unwanted(plan: Plan, found: Mapping[Leg, list[Hit]]) -> set[int]:
    """The entities that are examples of what the query does not want, or say so in their words."""
    texts = plan.inputs.unwanted_texts
    terms = {hit.milvus_id: hit.terms for hits in found.values() for hit in hits} if texts else {}
    return set(plan.inputs.unwanted) | {
        milvus_id
        for milvus_id, its_terms in terms.items()
        if any(text.coverage(frozenset(its_terms.split())) >= _HAS_IT for text in texts)
    }


def _fused(
    plan: Plan,
    found: Mapping[Leg, list[Hit]],
    features: Mapping[int, Mapping[str, float]],
    calibration: Calibration,
) -> list[Fused]:
    if plan.mode is not SearchMode.hybrid:
        ((leg, hits),) = found.items()
        order = ranked((hit.milvus_id, hit.score) for hit in hits if hit.milvus_id in features)
        return [
            Fused(milvus_id, score, {leg.value: Part(rank, score, score)})
            for rank, (milvus_id, score) in enumerate(order, start=1)
        ]
    ranked_legs = []
    for leg, hits in found.items():
        kept = ranked((hit.milvus_id, hit.score) for hit in hits if hit.milvus_id in features)
        factors = {}
        if leg is Leg.bm25:
            factors = {key: known[COVERAGE] for key, known in features.items()}
        weight = plan.legs[leg] * _reliability(leg, kept, calibration)
        ranked_legs.append(RankedLeg(leg.value, weight, kept, factors))
    return fuse(ranked_legs)


def _reliability(leg: Leg, ranking: Sequence[tuple[int, float]], calibration: Calibration) -> float:
    """From 0 to 1: what a leg's ranks are worth for this query, by the best that it has found."""
    ends = calibration.ramps.get(leg.value)
    return ramp(ranking[0][1], *ends) if ends and ranking else 1.0


def _candidate(fused: Fused, features: Mapping[str, float], curve: Curve | None) -> Candidate:
    best = max(fused.parts, key=lambda name: (fused.parts[name].contribution, name))
    return Candidate(
        milvus_id=fused.milvus_id,
        score=fused.score,
        confidence=curve.confidence(features) if curve else None,
        field=FIELDS[Leg(best)],
        features=features,
        parts=fused.parts,
    )
