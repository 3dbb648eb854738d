"""Recall: the legs of a plan searched at the same time, fused, each hit with its confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import numpy as np

from data_models import Leg, SearchFilters, SearchMode, VectorField
from product_search.errors import VectorStoreUnavailable
from product_search.milvus.hits import Hits
from product_search.milvus.searches import EntitySearch, TermSearch, VectorSearch
from product_search.search.calibration import Calibration, Curve
from product_search.search.features import AGREEMENT, COVERAGE, find_features
from product_search.search.fusion import (
    Floats,
    FusedHits,
    Keys,
    LegRank,
    RankedLeg,
    as_found,
    best_first,
    fuse,
    ramp,
    unique_keys,
)
from product_search.search.plan import FIELDS, LegVectors, Plan
from product_search.search.together import Steps, looked_up_partly
from product_search.text.document import absent_term, cut_at, unasked_from
from product_search.text.query import QueryText

_UNWANTED_COVERAGE = 0.79  # of an unwanted text, from which a product is left out: by its sound
_FIELDS_BY_NAME = {leg.value: field for leg, field in FIELDS.items()}
LegHits = Mapping[Leg, Hits]


class HybridDepth:
    """How deep each leg of a hybrid search is read.

    Of deeper legs the entities far down would add to the fused scores of others, so that these
    stood elsewhere than on the pages before: what is found further down comes after all else.
    """

    FIRST = 64
    FURTHER = 256
    FURTHEST = 1024  # only where variants of the same products take up the places above

    @classmethod
    def all(cls) -> tuple[int, ...]:
        """Return the depths, one below the other."""
        return cls.FIRST, cls.FURTHER, cls.FURTHEST


class RecalledHit(NamedTuple):
    """An entity that may answer the query; a higher score is better."""

    milvus_id: int
    score: float
    confidence: float | None  # None: nothing was fitted for these encoders and legs
    field: VectorField | None  # None: no leg has looked for it
    features: Mapping[str, float]
    ranks: Mapping[str, LegRank]


@dataclass(frozen=True, eq=False)
class Recall:
    """The entities that may answer the query, best first, column by column.

    `features` and `confidences` are in the same order. `is_complete` where no leg has more,
    `unwanted` are how many a leg found that the query does not want, `line` is the confidence
    from which the query's hits fit.
    """

    fused: FusedHits
    features: Mapping[str, Floats]
    confidences: Floats | None  # None: nothing was fitted for these encoders and legs
    is_complete: bool
    unwanted: int = 0
    line: float | None = None  # None as the confidences are
    failed: frozenset[Leg] = frozenset()  # legs that could not be searched

    def with_confidences(self, curve: Curve, *, in_order: bool) -> Recall:
        """Return the entities with their confidences.

        `in_order` by falling confidence, where equal ones stay as they are.
        """
        confidences = curve.confidences(self.features)
        line = curve.least(confidences)
        if not in_order:
            return replace(self, confidences=confidences, line=line)
        order = np.argsort(-confidences, kind="stable")
        return replace(
            self,
            fused=self.fused.at(order),
            features={name: values[order] for name, values in self.features.items()},
            confidences=confidences[order],
            line=line,
        )

    def split(self, min_confidence: float | None) -> tuple[list[int], list[int]]:
        """Return the places of what has this confidence, and of what has less.

        Without a curve or a bound all have it.
        """
        if min_confidence is None or self.confidences is None:
            return list(range(len(self.fused.milvus_ids))), []
        fits = self.confidences >= min_confidence
        return np.flatnonzero(fits).tolist(), np.flatnonzero(~fits).tolist()

    def followed_by(self, deeper: Recall) -> Recall:
        """Return these entities, then those that were found by deeper legs alone."""
        is_new = ~np.isin(deeper.fused.milvus_ids, self.fused.milvus_ids)
        new = np.flatnonzero(is_new)
        confidences = None
        if self.confidences is not None and deeper.confidences is not None:
            confidences = np.concatenate([self.confidences, deeper.confidences[new]])
        features = {
            name: np.concatenate([values, deeper.features[name][new]])
            for name, values in self.features.items()
        }
        fused = self.fused.followed_by(deeper.fused.at(new))
        is_complete, unwanted = deeper.is_complete, deeper.unwanted
        return Recall(fused, features, confidences, is_complete, unwanted, self.line, deeper.failed)

    def hit(self, place: int) -> RecalledHit:
        """Return the entity at a place."""
        ranks = self.fused.ranks_of(place)
        best = max(ranks, key=lambda name: (ranks[name].contribution, name), default=None)
        return RecalledHit(
            milvus_id=int(self.fused.milvus_ids[place]),
            score=float(self.fused.scores[place]),
            confidence=None if self.confidences is None else float(self.confidences[place]),
            field=_FIELDS_BY_NAME[best] if best else None,
            features={name: float(values[place]) for name, values in self.features.items()},
            ranks=ranks,
        )


def recall(
    plan: Plan,
    vectors: LegVectors,
    filters: SearchFilters,
    calibration: Calibration,
    limit: int,
) -> Steps[Recall]:
    """Search each leg of the plan for up to `limit` entities, and fuse what they find.

    Of a hybrid search, what its legs have below HybridDepth.FIRST comes after all that they have
    above it, so that further pages go on where the first ones end.
    """
    if plan.asks_nothing:
        curve = calibration.curve(plan.legs)
        return Recall(fuse([]), {}, None, is_complete=True, line=curve.line if curve else None)
    depths = [limit]
    if plan.mode is SearchMode.hybrid:
        depths = [depth for depth in HybridDepth.all() if depth <= limit]
    found = yield from _find_partly(plan, vectors, filters, depths)
    plan = _answerable(plan, found, calibration)
    with plan.query.watch.stage("fuse"):
        fused = (_fused(plan, found.at(plan, depth), depth, calibration) for depth in depths)
        return reduce(Recall.followed_by, fused)


def find(
    plan: Plan, vectors: LegVectors, filters: SearchFilters, depths: Sequence[int]
) -> Steps[list[LegHits]]:
    """Return what each leg of the plan finds, once for each depth that the legs are read to.

    Raises:
        VectorStoreUnavailable: a leg has failed.
    """
    found = yield from _find_partly(plan, vectors, filters, depths)
    for error in found.errors.values():
        raise error
    return [found.at(plan, depth) for depth in depths]


class _LegsFound(NamedTuple):
    """What legs have found at some depths, and why others have failed."""

    hits: Mapping[tuple[int, Leg], Hits]
    errors: Mapping[Leg, VectorStoreUnavailable]

    def at(self, plan: Plan, depth: int) -> LegHits:
        """Return what each leg of the plan has found at this depth."""
        return {leg: self.hits.get((depth, leg)) or no_hits(leg) for leg in plan.legs}


def _find_partly(
    plan: Plan, vectors: LegVectors, filters: SearchFilters, depths: Sequence[int]
) -> Steps[_LegsFound]:
    searches = [
        (depth, leg, search)
        for depth in depths
        for leg in plan.legs
        if (search := _leg_search(leg, plan, vectors, filters, depth)) is not None
    ]
    asked = plan.asked
    wanted = [one for *_, one in searches if asked is None or one != asked.search]
    answers = iter((yield from looked_up_partly(wanted, plan.query.watch)))
    hits: dict[tuple[int, Leg], Hits] = {}
    errors: dict[Leg, VectorStoreUnavailable] = {}
    for depth, leg, search in searches:
        found = asked.hits if asked and search == asked.search else next(answers)
        if isinstance(found, VectorStoreUnavailable):
            errors[leg] = found
        else:
            hits[depth, leg] = found
    return _LegsFound(hits, errors)


def _answerable(plan: Plan, found: _LegsFound, calibration: Calibration) -> Plan:
    """Return the plan without the legs that have failed, which the answer then tells.

    Raises:
        VectorStoreUnavailable: no leg is left that has looked for anything, or the client wants a
            confidence that the legs which are left can't have.
    """
    if not found.errors:
        return plan
    left = plan.without(found.errors)
    has_looked = any(leg in left.legs for _, leg in found.hits)
    is_judged = not plan.query.request.min_confidence or calibration.curve(left.legs) is not None
    if not (has_looked and is_judged):
        raise next(iter(found.errors.values()))
    return left


def _fused(plan: Plan, hits: LegHits, depth: int, calibration: Calibration) -> Recall:
    is_complete = all(len(of_leg) < depth for of_leg in hits.values())
    return fuse_legs(plan, hits, calibration, is_complete=is_complete)


def no_hits(leg: Leg) -> Hits:
    """Return what a leg finds that has nothing to look for."""
    return Hits(FIELDS[leg], np.zeros(0, np.int64), np.zeros(0), [])


def fuse_legs(plan: Plan, hits: LegHits, calibration: Calibration, *, is_complete: bool) -> Recall:
    """Return the hits of all legs in one order, best first, without those that are unwanted."""
    matches = _matches(plan, hits)
    unwanted = _unwanted(plan, matches)
    left_out = 0
    if unwanted:
        found = unique_keys(of_leg.milvus_ids for of_leg in hits.values())
        left_out = len(unwanted.intersection(found.tolist()))
        hits = {leg: _without(of_leg, unwanted) for leg, of_leg in hits.items()}
    keys = unique_keys(of_leg.milvus_ids for of_leg in hits.values())
    features = find_features(plan, hits, matches, keys, calibration)
    fused = _fuse(plan, hits, keys, features, calibration)
    order = np.searchsorted(keys, fused.milvus_ids)
    ordered = {name: values[order] for name, values in features.items()}
    if plan.mixes_images:
        ordered = {AGREEMENT: fused.scores / plan.highest_score}
    recalled = Recall(fused, ordered, None, is_complete, left_out, failed=plan.failed)
    curve = calibration.curve(plan.legs)
    return recalled.with_confidences(curve, in_order=not plan.is_weighted) if curve else recalled


def _leg_search(
    leg: Leg, plan: Plan, vectors: LegVectors, filters: SearchFilters, limit: int
) -> EntitySearch | None:
    """Return the search of a leg; None where the query has no terms for it."""
    if leg is Leg.bm25:
        terms = plan.inputs.bm25_terms
        return TermSearch(terms, limit, filters) if terms else None
    is_hybrid = plan.mode is SearchMode.hybrid
    return VectorSearch(FIELDS[leg], vectors[leg], limit, filters, is_hybrid)


def _matches(plan: Plan, hits: LegHits) -> dict[int, frozenset[str]]:
    """Return by milvus_id which of the query's terms each entity has, where any are looked at."""
    inputs = plan.inputs
    if Leg.bm25 not in hits and not inputs.unwanted_texts and not inputs.required_terms:
        return {}
    asked = frozenset[str]().union(*(text.value.asked for text in inputs.texts))
    terms: dict[int, str] = {}
    for of_leg in hits.values():
        terms |= zip(of_leg.milvus_ids.tolist(), of_leg.terms, strict=True)
    marks = unasked_from(asked)
    return {
        milvus_id: asked.intersection(cut_at(text, marks).split())
        for milvus_id, text in terms.items()
    }


def unwanted_entities(plan: Plan, hits: LegHits) -> set[int]:
    """Return what the query excludes, and of the hits those that say what it does not want."""
    return _unwanted(plan, _matches(plan, hits))


def _unwanted(plan: Plan, matches: Mapping[int, frozenset[str]]) -> set[int]:
    """Return the entities that the query excludes, or whose terms say what it does not want.

    Nor does it want those without what it quotes.
    """
    texts, required = plan.inputs.unwanted_texts, plan.inputs.required_terms
    said = {
        terms
        for terms in (set(matches.values()) if texts or required else ())
        if not required.issubset(terms) or any(_says(terms, text) for text in texts)
    }
    return {*plan.inputs.excluded, *(key for key, terms in matches.items() if terms in said)}


def _says(terms: frozenset[str], unwanted: QueryText) -> bool:
    """Return whether a product with these terms has what is unwanted, and does not deny it."""
    is_denied = absent_term(unwanted.plain) in terms
    return not is_denied and unwanted.coverage(terms) >= _UNWANTED_COVERAGE


def _without(of_leg: Hits, unwanted: set[int]) -> Hits:
    kept = [place for place, key in enumerate(of_leg.milvus_ids.tolist()) if key not in unwanted]
    terms = [of_leg.terms[place] for place in kept]
    return Hits(of_leg.field, of_leg.milvus_ids[kept], of_leg.scores[kept], terms)


def _fuse(
    plan: Plan,
    hits: LegHits,
    keys: Keys,
    features: Mapping[str, Floats],
    calibration: Calibration,
) -> FusedHits:
    """Return the entities, whose keys are sorted, in the order of all legs."""
    legs = [_rank(leg, of_leg) for leg, of_leg in hits.items()]
    if plan.mode is not SearchMode.hybrid:
        (alone,) = legs
        return as_found(alone)
    return fuse(_weighted(plan, leg, keys, features, calibration) for leg in legs)


def _rank(leg: Leg, of_leg: Hits) -> RankedLeg:
    """Return the leg's entities, best first, as yet without a weight."""
    order = best_first(of_leg.milvus_ids, of_leg.scores)
    return RankedLeg(leg.value, 1.0, of_leg.milvus_ids[order], of_leg.scores[order])


def _weighted(
    plan: Plan,
    ranked: RankedLeg,
    keys: Keys,
    features: Mapping[str, Floats],
    calibration: Calibration,
) -> RankedLeg:
    """Return the leg with its weight in the plan, by how far this query can rely on it."""
    leg = Leg(ranked.name)
    factors = None
    if leg is Leg.bm25:
        factors = features[COVERAGE][np.searchsorted(keys, ranked.milvus_ids)]
    weight = plan.legs[leg] * _reliability(ranked, calibration)
    return replace(ranked, weight=weight, factors=factors)


def _reliability(leg: RankedLeg, calibration: Calibration) -> float:
    """Return from 0 to 1 what a leg's ranks are worth for this query, by its best score."""
    ends = calibration.ramps.get(leg.name)
    return ramp(float(leg.scores[0]), *ends) if ends and len(leg.scores) else 1.0
