"""One search, from its vectors to its answer: recall, the line, rows, order, page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from data_models import (
    Facets,
    HitExplain,
    Leg,
    LegExplain,
    SearchFilters,
    SearchHit,
    SearchMode,
    SearchRequest,
    SearchResponse,
    SearchSort,
    TookMs,
    VectorField,
)
from orm_models import Database, Product, matching, products_by_milvus_id
from product_search.catalog.rows import product_out
from product_search.errors import NotCalibrated
from product_search.indexing.collections import OpenCollection
from product_search.milvus.filters import passes
from product_search.outbox import counts
from product_search.search.calibration import Calibration, Curve
from product_search.search.cursors import Cursors, Seen
from product_search.search.facets import Faceted, facets
from product_search.search.plan import FIELDS, LegVectors, Plan
from product_search.search.recall import HYBRID_DEPTH, Candidate, Candidates, recall
from vector_db import MAX_LIMIT

# How many entities are recalled: more than a page needs, since some may have lost their row
# meanwhile, and in few sizes, since Milvus orders equal scores otherwise for each size.
_LIMITS = (64, 256, 1024, 4096, MAX_LIMIT)
_COUNTED = 1024  # where all that fits is sorted or counted, so many are looked at
_NEAR_MISSES = 3
_MOST_SEEN = 10_000  # products that a cursor remembers


@dataclass
class Stopwatch:
    """Milliseconds by stage."""

    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What runs in here belongs to this stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = 1000 * (time.perf_counter() - start)
            self.stages[name] = self.stages.get(name, 0.0) + spent

    def took(self) -> TookMs:
        """All stages; of a batch, each search has the time in which all were encoded."""
        stages = ("decode", "encode", "recall", "hydrate")
        spent = {name: round(self.stages.get(name, 0.0), 2) for name in stages}
        return TookMs(**spent, total=round(sum(spent.values()), 2))


class Found(NamedTuple):
    """A candidate and its row."""

    candidate: Candidate
    product: Product


@dataclass(frozen=True)
class Relevant:
    """The products that fit, in the order of the answer, and what was left behind."""

    found: Sequence[Found]
    missed: Sequence[Candidate]  # those below the line, the nearest first
    dropped: int
    is_whole: bool


@dataclass(frozen=True)
class Search:
    """One query in one collection, ready to be answered."""

    database: Database
    threads: Executor
    cursors: Cursors
    collection: OpenCollection
    calibration: Calibration
    request: SearchRequest
    digest: str  # of the request and its image
    corrected: str | None  # the text that is searched with instead
    plan: Plan
    vectors: LegVectors
    watch: Stopwatch

    def answer(self) -> SearchResponse:
        """The page that the request asks for.

        Raises:
            CursorInvalid, CursorStale: it was not given out for this search.
            NotCalibrated: `min_confidence` is asked for, and these legs have no curve.
            DatabaseUnavailable, VectorStoreUnavailable: a store is down.
        """
        request = self.request
        line = self._line()
        seen = self._seen()
        skipped = len(seen) + request.offset
        relevant = self._relevant(line, skipped + request.top_k + 1)
        rest = [one for one in relevant.found if one.product.id not in seen][request.offset :]
        page = rest[: request.top_k]
        unfiltered = self._ranks_without_filters(line) if request.explain else None
        is_none = not relevant.found
        return SearchResponse(
            mode=self.plan.mode,
            corrected_query=self.corrected,
            hits=shown(page, skipped, explain=request.explain, unfiltered=unfiltered or {}),
            total=len(relevant.found),
            total_is_exact=relevant.is_whole and not (is_none and self._is_behind()),
            next_cursor=self._next(relevant.found, seen, page, len(rest) > len(page)),
            no_match=is_none,
            near_misses=self._near_misses(relevant) if is_none else [],
            min_confidence=line,
            facets=_facets(relevant.found) if request.facets else None,
            total_without_filters=None if unfiltered is None else len(unfiltered),
            encoder=self.collection.encoders.name,
            dropped=relevant.dropped,
            took_ms=self.watch.took(),
        )

    def _is_behind(self) -> bool:
        """Whether products wait that are not in the collection yet."""
        return bool(self.database.read(counts.count_up_to, 1))

    def _line(self) -> float | None:
        """The confidence that a hit must have; None where none was fitted."""
        curve = self._curve()
        asked = self.request.min_confidence
        if curve is None:
            if asked:
                raise NotCalibrated(
                    "在用的编码器与各路没有校准，给不出 confidence：请去掉 min_confidence"
                )
            return None
        return curve.line if asked is None else asked

    def _curve(self) -> Curve | None:
        return self.calibration.curve(self.plan.feature_names)

    def _seen(self) -> frozenset[int]:
        if self.request.cursor is None:
            return frozenset()
        return self.cursors.read(self.request.cursor, self.digest, self.collection.name)

    def _relevant(self, line: float | None, wanted: int) -> Relevant:
        """Enough for the page, or all that fit, where these are to be sorted or counted."""
        request = self.request
        takes_all = request.facets or request.sort is not SearchSort.relevance
        enough = max(wanted, _COUNTED) if takes_all else wanted
        relevant = Relevant([], [], 0, is_whole=False)
        limits = self._limits(enough)
        for limit in limits[:1] if takes_all else limits:
            relevant, last = self._look(line, limit, request.filters)
            if relevant.is_whole or (not takes_all and _is_settled(relevant.found, wanted, last)):
                break
        return relevant if request.sort is SearchSort.relevance else _sorted(relevant, request.sort)

    def _limits(self, enough: int) -> Sequence[int]:
        """How deep the legs are read, one after the other until it is enough."""
        if self.plan.mode is SearchMode.hybrid:
            return (HYBRID_DEPTH,)
        return [limit for limit in _LIMITS if limit > enough] or [MAX_LIMIT]

    def _look(
        self, line: float | None, limit: int, filters: SearchFilters
    ) -> tuple[Relevant, float]:
        """What fits of so many candidates of each leg, and the score of the last of all."""
        with self.watch.stage("recall"):
            candidates = self._recall(limit, filters)
        fits = [one for one in candidates.found if line is None or _confidence(one) >= line]
        missed = [one for one in candidates.found if line is not None and _confidence(one) < line]
        with self.watch.stage("hydrate"):
            found = self._hydrate(fits)
        is_cut = bool(missed) and self.plan.mode is not SearchMode.hybrid
        last = candidates.found[-1].score if candidates.found else 0.0
        whole = candidates.is_whole or is_cut
        return Relevant(found, missed, len(fits) - len(found), whole), last

    def _recall(self, limit: int, filters: SearchFilters) -> Candidates:
        store = self.collection.store
        return recall(
            store, self.threads, self.plan, self.vectors, filters, self.calibration, limit
        )

    def _hydrate(self, candidates: Sequence[Candidate]) -> list[Found]:
        """Those whose row exists and, as it is now, meets the filters; order kept."""
        if not candidates:
            return []
        filters = self.request.filters
        conditions = matching(filters)
        if all(FIELDS[leg] is VectorField.image_clip for leg in self.plan.legs):
            conditions.append(Product.image_hash.is_not(None))
        keys = [one.milvus_id for one in candidates]
        statement = products_by_milvus_id(keys, *conditions)
        products = self.database.read(lambda session: session.scalars(statement).all())
        rows = {row.milvus_id: row for row in products if passes(row.attributes, filters)}
        return [Found(one, rows[one.milvus_id]) for one in candidates if one.milvus_id in rows]

    def _near_misses(self, relevant: Relevant) -> list[SearchHit]:
        with self.watch.stage("hydrate"):
            nearest = sorted(relevant.missed, key=lambda one: (-_confidence(one), one.milvus_id))
            found = self._hydrate(nearest[:_NEAR_MISSES])
        return shown(found, explain=self.request.explain)

    def _ranks_without_filters(self, line: float | None) -> dict[int, int] | None:
        """Of what fits, by milvus_id; None where nothing was filtered, or the order is another."""
        request = self.request
        if request.filters == SearchFilters() or request.sort is not SearchSort.relevance:
            return None
        limit = self._limits(request.offset + request.top_k)[0]
        with self.watch.stage("recall"):
            found = self._recall(limit, SearchFilters()).found
        fits = [one for one in found if line is None or _confidence(one) >= line]
        return {one.milvus_id: rank for rank, one in enumerate(fits, start=1)}

    def _next(
        self, found: Sequence[Found], seen: frozenset[int], page: Sequence[Found], has_more: bool
    ) -> str | None:
        if not has_more or not page:
            return None
        last = found.index(page[-1])
        so_far = seen | {one.product.id for one in found[: last + 1]}
        if len(so_far) >= _MOST_SEEN:
            return None
        return self.cursors.write(Seen(self.digest, self.collection.name, so_far))


def shown(
    page: Sequence[Found],
    skipped: int = 0,
    *,
    explain: bool = False,
    unfiltered: Mapping[int, int] = MappingProxyType({}),
) -> list[SearchHit]:
    """The hits of a page, before which so many were skipped.

    `unfiltered` has their ranks without filters, by milvus_id, where these are known.
    """
    return [
        SearchHit(
            rank=rank,
            score=round(one.candidate.score, 6),
            confidence=rounded(one.candidate.confidence),
            matched_field=one.candidate.field,
            product=product_out(one.product),
            explain=_explained(one.candidate, unfiltered) if explain else None,
        )
        for rank, one in enumerate(page, start=skipped + 1)
    ]


def _is_settled(found: Sequence[Found], wanted: int, last: float) -> bool:
    """Whether the page is full, and none that ties with its last hit can be missing.

    Equal scores are ordered by key: with one of them missing, another page would have another
    order.
    """
    return len(found) >= wanted and found[wanted - 1].candidate.score > last


def _confidence(candidate: Candidate) -> float:
    return candidate.confidence or 0.0


def rounded(confidence: float | None) -> float | None:
    """As answers show it."""
    return None if confidence is None else round(confidence, 4)


def _sorted(relevant: Relevant, sort: SearchSort) -> Relevant:
    """By price, those without one last, or by age; ties as they were by relevance."""

    def key(one: Found) -> tuple[bool, float]:
        product = one.product
        if sort is SearchSort.newest:
            return False, -product.created_at.timestamp()
        if product.price is None:
            return True, 0.0
        return False, float(product.price if sort is SearchSort.price_asc else -product.price)

    found = sorted(relevant.found, key=key)
    return Relevant(found, relevant.missed, relevant.dropped, relevant.is_whole)


def _facets(found: Sequence[Found]) -> Facets:
    rows = (one.product for one in found)
    return facets(Faceted(row.category, row.brand, row.price) for row in rows)


def _explained(candidate: Candidate, unfiltered: Mapping[int, int]) -> HitExplain:
    legs = [
        LegExplain(
            leg=Leg(name),
            rank=part.rank,
            score=part.score,
            contribution=round(part.contribution, 6),
        )
        for name, part in sorted(candidate.parts.items(), key=lambda item: -item[1].contribution)
    ]
    return HitExplain(
        legs=legs,
        features={name: round(value, 6) for name, value in candidate.features.items()},
        rank_without_filters=unfiltered.get(candidate.milvus_id),
    )
