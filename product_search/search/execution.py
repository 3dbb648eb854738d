"""One search of one collection: recall, confidence, hydration, order and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    SearchResponse,
    SearchSort,
    VectorField,
)
from orm_models import (
    Database,
    Product,
    ProductRow,
    filter_conditions,
    products_by_milvus_id,
)
from product_search.catalog.rows import product_out
from product_search.errors import NotCalibrated
from product_search.indexing.collections import OpenCollection
from product_search.milvus.filters import passes
from product_search.milvus.searches import MAX_LIMIT
from product_search.outbox import counts
from product_search.search.calibration import Calibration, round_confidence
from product_search.search.cursors import Cursors
from product_search.search.facets import FacetValues, count_facets
from product_search.search.plan import FIELDS, LegVectors, Plan
from product_search.search.recall import HYBRID_DEPTH, Recall, RecalledHit, recall

# How many entities are recalled: more than a page needs, since some may have lost their row
# meanwhile, and in few sizes, since Milvus orders equal scores otherwise for each size.
_LIMITS = (64, 256, 1024, 4096, MAX_LIMIT)
_COUNTED = 1024  # where all that fits is sorted or counted, so many are looked at
_NEAR_MISSES = 3
_MOST_SEEN = 10_000  # products that a cursor remembers


class HydratedHit(NamedTuple):
    """A recalled hit and its row."""

    hit: RecalledHit
    product: ProductRow


@dataclass(frozen=True)
class Results:
    """The products that fit, in the order of the response, and the hits that were left out."""

    hits: Sequence[HydratedHit]
    below: Sequence[RecalledHit]  # of less confidence than is asked for
    dropped: int  # hits whose row is gone or no longer passes the filters
    is_complete: bool


@dataclass(frozen=True)
class Search:
    """A planned and embedded query, and what it takes to run it in one collection."""

    database: Database
    cursors: Cursors
    collection: OpenCollection
    calibration: Calibration
    plan: Plan
    vectors: LegVectors

    def run(self) -> SearchResponse:
        """Return the page that the request asks for.

        Raises:
            CursorInvalid, CursorStale: the cursor was not given out for this search.
            NotCalibrated: `min_confidence` is asked for, and these legs have no curve.
            DatabaseUnavailable, VectorStoreUnavailable: a store is down.
        """
        query, request = self.plan.query, self.plan.query.request
        min_confidence = self._min_confidence()
        seen = self._seen()
        skipped = len(seen) + request.offset
        results = self._results(min_confidence, skipped + request.top_k + 1)
        unseen = [one for one in results.hits if one.product.id not in seen][request.offset :]
        page = unseen[: request.top_k]
        ranks = self._ranks_without_filters(min_confidence) if request.explain else None
        is_none = not results.hits
        return SearchResponse(
            mode=self.plan.mode,
            corrected_query=query.corrected,
            hits=to_search_hits(page, skipped, explain=request.explain, unfiltered=ranks or {}),
            total=len(results.hits),
            total_is_exact=results.is_complete and not (is_none and self._is_index_behind()),
            next_cursor=self._next_cursor(results.hits, seen, page, len(unseen) > len(page)),
            no_match=is_none,
            near_misses=self._near_misses(results.below) if is_none else [],
            min_confidence=min_confidence,
            facets=_facets(results.hits) if request.facets else None,
            total_without_filters=None if ranks is None else len(ranks),
            encoder=self.collection.encoders.name,
            dropped=results.dropped,
            warnings=query.warnings,
            took_ms=query.watch.finish(self.plan.mode),
        )

    def _min_confidence(self) -> float | None:
        """Return the confidence that a hit must have; None where no curve was fitted."""
        curve = self.calibration.curve(self.plan.feature_names)
        wanted = self.plan.query.request.min_confidence
        if curve is not None:
            return curve.line if wanted is None else wanted
        if wanted:
            raise NotCalibrated(
                "在用的编码器与各路没有校准，给不出 confidence：请去掉 min_confidence"
            )
        return None

    def _seen(self) -> frozenset[int]:
        """Return the ids of the products on the pages before."""
        cursor = self.plan.query.request.cursor
        if cursor is None:
            return frozenset()
        return self.cursors.read(cursor, self.plan.query.digest, self.collection.name)

    def _results(self, min_confidence: float | None, wanted: int) -> Results:
        """Return enough for the page, or all that fit where these are sorted or counted.

        The legs are read deeper until it is enough.
        """
        request = self.plan.query.request
        if request.facets or request.sort is not SearchSort.relevance:
            limit = self._limits(max(wanted, _COUNTED))[0]
            results = self._hydrate_recall(self._recall(limit, request.filters), min_confidence)
            return replace(results, hits=_sort(results.hits, request.sort))
        for limit in self._limits(wanted):
            recalled = self._recall(limit, request.filters)
            results = self._hydrate_recall(recalled, min_confidence)
            if results.is_complete or _is_settled(results.hits, wanted, recalled):
                break
        return results

    def _limits(self, wanted: int) -> Sequence[int]:
        """Return how deep the legs are read, one depth after the other."""
        if self.plan.mode is SearchMode.hybrid:
            return (HYBRID_DEPTH,)
        return [limit for limit in _LIMITS if limit > wanted] or [MAX_LIMIT]

    def _recall(self, limit: int, filters: SearchFilters) -> Recall:
        entities = self.collection.entities
        return recall(entities, self.plan, self.vectors, filters, self.calibration, limit)

    def _hydrate_recall(self, recalled: Recall, min_confidence: float | None) -> Results:
        fitting = [hit for hit in recalled.hits if _fits(hit, min_confidence)]
        below = [hit for hit in recalled.hits if not _fits(hit, min_confidence)]
        hydrated = self._hydrate(fitting)
        # A single leg's confidence falls with its score: below the first that does not fit,
        # however deep, nothing fits.
        is_cut = bool(below) and self.plan.mode is not SearchMode.hybrid
        return Results(
            hydrated, below, len(fitting) - len(hydrated), recalled.is_complete or is_cut
        )

    def _hydrate(self, hits: Sequence[RecalledHit]) -> list[HydratedHit]:
        """Return the hits whose row exists and passes the filters as it is now; order kept."""
        if not hits:
            return []
        filters = self.plan.query.request.filters
        conditions = filter_conditions(filters)
        if all(FIELDS[leg] is VectorField.image_clip for leg in self.plan.legs):
            conditions.append(Product.image_hash.is_not(None))
        keys = [hit.milvus_id for hit in hits]
        with self.plan.query.watch.stage("hydrate"):
            products = self.database.read(products_by_milvus_id, keys, *conditions)
            if filters.attributes:
                products = [row for row in products if passes(row.attributes, filters)]
            rows = {row.milvus_id: row for row in products}
        return [HydratedHit(hit, rows[hit.milvus_id]) for hit in hits if hit.milvus_id in rows]

    def _near_misses(self, below: Sequence[RecalledHit]) -> list[SearchHit]:
        nearest = sorted(below, key=lambda hit: (-(hit.confidence or 0.0), hit.milvus_id))
        hydrated = self._hydrate(nearest[:_NEAR_MISSES])
        return to_search_hits(hydrated, explain=self.plan.query.request.explain)

    def _ranks_without_filters(self, min_confidence: float | None) -> dict[int, int] | None:
        """Return the ranks of all that fit, by milvus_id.

        None where nothing is filtered, or the order is not that of relevance.
        """
        request = self.plan.query.request
        if request.filters == SearchFilters() or request.sort is not SearchSort.relevance:
            return None
        recalled = self._recall(self._limits(request.offset + request.top_k)[0], SearchFilters())
        fitting = [hit for hit in recalled.hits if _fits(hit, min_confidence)]
        return {hit.milvus_id: rank for rank, hit in enumerate(fitting, start=1)}

    def _is_index_behind(self) -> bool:
        """Return whether products wait that are not in the collection yet."""
        return bool(self.database.read(counts.count_up_to, 1))

    def _next_cursor(
        self,
        hits: Sequence[HydratedHit],
        seen: frozenset[int],
        page: Sequence[HydratedHit],
        has_more: bool,
    ) -> str | None:
        if not has_more or not page:
            return None
        last = hits.index(page[-1])
        seen = seen | {one.product.id for one in hits[: last + 1]}
        if len(seen) >= _MOST_SEEN:
            return None
        return self.cursors.write(self.plan.query.digest, self.collection.name, seen)


def to_search_hits(
    page: Sequence[HydratedHit],
    skipped: int = 0,
    *,
    explain: bool = False,
    unfiltered: Mapping[int, int] = MappingProxyType({}),
) -> list[SearchHit]:
    """Return the page as responses have it, ranked after the hits that were skipped.

    `unfiltered` has the ranks without filters, by milvus_id, where these are known.
    """
    return [
        SearchHit(
            rank=rank,
            score=round(hit.score, 6),
            confidence=round_confidence(hit.confidence),
            matched_field=hit.field,
            product=product_out(product),
            explain=_explain(hit, unfiltered) if explain else None,
        )
        for rank, (hit, product) in enumerate(page, start=skipped + 1)
    ]


def _fits(hit: RecalledHit, min_confidence: float | None) -> bool:
    return min_confidence is None or (hit.confidence or 0.0) >= min_confidence


def _is_settled(hits: Sequence[HydratedHit], wanted: int, recalled: Recall) -> bool:
    """Return whether the page is full, and no hit that ties with its last one can be missing.

    Equal scores are ordered by key: with one of them missing, another page would have another
    order.
    """
    lowest = recalled.hits[-1].score if recalled.hits else 0.0
    return len(hits) >= wanted and hits[wanted - 1].hit.score > lowest


def _sort(hits: Sequence[HydratedHit], sort: SearchSort) -> Sequence[HydratedHit]:
    """Sort by price, products without one last, or by age; ties go by relevance."""

    def key(one: HydratedHit) -> tuple[bool, float]:
        product = one.product
        if sort is SearchSort.newest:
            return False, -product.created_at.timestamp()
        if product.price is None:
            return True, 0.0
        return False, float(product.price if sort is SearchSort.price_asc else -product.price)

    return hits if sort is SearchSort.relevance else sorted(hits, key=key)


def _facets(hits: Sequence[HydratedHit]) -> Facets:
    rows = (one.product for one in hits)
    return count_facets(FacetValues(row.category, row.brand, row.price) for row in rows)


def _explain(hit: RecalledHit, unfiltered: Mapping[int, int]) -> HitExplain:
    legs = [
        LegExplain(
            leg=Leg(name),
            rank=in_leg.rank,
            score=in_leg.score,
            contribution=round(in_leg.contribution, 6),
        )
        for name, in_leg in sorted(hit.ranks.items(), key=lambda item: -item[1].contribution)
    ]
    return HitExplain(
        legs=legs,
        features={name: round(value, 6) for name, value in hit.features.items()},
        rank_without_filters=unfiltered.get(hit.milvus_id),
    )
