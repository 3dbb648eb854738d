"""One search of one collection: recall, confidence, hydration, order and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

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
)
from orm_models import Database
from product_search.access.addresses import Addresses
from product_search.catalog.rows import product_out
from product_search.errors import NotCalibrated, VectorStoreUnavailable
from product_search.indexing.collections import OpenCollection
from product_search.milvus.searches import MAX_LIMIT
from product_search.outbox import counts
from product_search.search.calibration import Calibration, round_confidence
from product_search.search.cursors import Cursors
from product_search.search.facets import FacetValues, count_facets
from product_search.search.hydration import HydratedHit, Hydration, every, hydrate, none
from product_search.search.listing import list_products
from product_search.search.pages import BoundHit, Page, best_of_groups
from product_search.search.plan import LegVectors, Plan
from product_search.search.recall import HybridDepth, Recall, RecalledHit, recall
from product_search.search.together import Steps

# How many entities are recalled: more than a page needs, since some may have lost their row
# meanwhile, and in few sizes, since Milvus orders equal scores otherwise for each size.
_LIMITS = (64, 256, 1024, 4096, MAX_LIMIT)
_COUNTED = 1024  # where all that fits is sorted or counted, a single leg is read so deep
_NEAR_MISSES = 3
_NEAREST = 64  # products of which these are the first, one of each group
_MOST_SEEN = 10_000  # products that a cursor remembers


@dataclass(frozen=True)
class Results:
    """The products that fit, in the order of the response, and what was left out.

    `hits` are the best of each group of these products, and those without a group.
    """

    hydration: Hydration
    products: Sequence[BoundHit]
    hits: Sequence[BoundHit]
    below: Sequence[int]  # places in the recall of what has less confidence than is asked for
    dropped: int  # hits whose row is gone or no longer passes the filters
    is_complete: bool
    limit: int  # how deep each leg was read

    @property
    def recalled(self) -> Recall:
        """What was recalled."""
        return self.hydration.recalled

    @property
    def has_variants(self) -> bool:
        """Whether some of the products are shown as one hit."""
        return len(self.hits) < len(self.products)


@dataclass(frozen=True)
class Search:
    """A planned and embedded query, and what it takes to run it in one collection."""

    database: Database
    cursors: Cursors
    addresses: Addresses
    collection: OpenCollection
    calibration: Calibration
    plan: Plan
    vectors: LegVectors

    def run(self) -> Steps[SearchResponse]:
        """Return the page that the request asks for.

        Raises:
            CursorInvalid, CursorStale: the cursor was not given out for this search.
            NotCalibrated: `min_confidence` is asked for, and these legs have no curve.
            DatabaseUnavailable, VectorStoreUnavailable: a store is down.
        """
        query, request = self.plan.query, self.plan.query.request
        self._require_calibration()
        page = Page(self._seen(), request.offset, request.top_k)
        results = yield from self._results(page)
        self._require_answer(results)
        shown = results.hydration.hydrated(page.shown(results.products))
        ranks = None
        if request.explain:
            ranks = yield from self._ranks_without_filters(results.limit)
        near_misses = yield from self._near_misses(results)
        return SearchResponse(
            mode=self.plan.mode,
            corrected_query=query.in_full(query.corrected),
            did_you_mean=query.in_full(query.offered),
            interpreted=query.interpreted,
            hits=self._hits(shown, page.skipped, ranks or {}),
            total=len(results.hits),
            total_is_exact=self._is_exact(results),
            next_cursor=self._next_cursor(page.seen_after(results.products)),
            no_match=not results.hits,
            near_misses=near_misses,
            min_confidence=round_confidence(self._line(results.recalled)),
            facets=_facets(results.hydration) if request.facets else None,
            total_without_filters=None if ranks is None else max(ranks.values(), default=0),
            encoder=self.collection.encoders.name,
            dropped=results.dropped,
            warnings=query.warnings,
            degraded=sorted(results.recalled.failed),
            took_ms=query.watch.finish(self.plan.mode),
        )

    def _require_calibration(self) -> None:
        """Refuse a `min_confidence` where no curve was fitted. Raises NotCalibrated."""
        if self.plan.lists_all or not self.plan.query.request.min_confidence:
            return
        if self.calibration.curve(self.plan.legs) is None:
            raise NotCalibrated(
                "在用的编码器与各路没有校准，给不出 confidence：请去掉 min_confidence"
            )

    def _is_exact(self, results: Results) -> bool:
        """Return whether the number of hits is that of all products that fit."""
        is_whole = results.is_complete and not results.recalled.failed
        return is_whole and not (not results.hits and self._is_index_behind())

    def _require_answer(self, results: Results) -> None:
        """Refuse to say that nothing fits where legs could not be searched.

        Raises VectorStoreUnavailable.
        """
        if results.recalled.failed and not results.hits:
            raise VectorStoreUnavailable(VectorStoreUnavailable.example)

    def _line(self, recalled: Recall) -> float | None:
        """Return the confidence that a hit must have; None where there are no confidences."""
        wanted = self.plan.query.request.min_confidence
        return recalled.line if recalled.line is None or wanted is None else wanted

    def _seen(self) -> frozenset[int]:
        """Return the ids of the products on the pages before."""
        cursor = self.plan.query.request.cursor
        if cursor is None:
            return frozenset()
        return self.cursors.read(cursor, self.plan.query.digest, self.collection.name)

    def _results(self, page: Page) -> Steps[Results]:
        """Return enough for the page, or all that fit where these are sorted or counted.

        The legs are read deeper until it is enough.
        """
        request = self.plan.query.request
        wanted = page.skipped + page.size + 1
        for limit in self._limits(wanted):
            recalled = yield from self._recall(limit, request.filters)
            results = yield from self._fitting(recalled, page, limit)
            if results.is_complete or self._is_enough(results, wanted):
                break
        if request.sort is SearchSort.relevance:
            return results
        products = _sort(results.hydration, request.sort)
        return replace(results, products=products, hits=best_of_groups(products))

    @property
    def _takes_all(self) -> bool:
        """Whether all that fits is sorted or counted."""
        request = self.plan.query.request
        return request.facets or request.sort is not SearchSort.relevance

    def _limits(self, wanted: int) -> Sequence[int]:
        """Return how deep the legs are read, one depth after the other."""
        if self._is_fused:
            return HybridDepth.all()
        least = max(wanted, _COUNTED) if self._takes_all else wanted
        limits = [limit for limit in _LIMITS if limit > least] or [MAX_LIMIT]
        return limits[:1] if self._takes_all else limits

    def _is_enough(self, results: Results, wanted: int) -> bool:
        """Return whether nothing would be found further down that belongs into the answer.

        That of a hybrid search does not depend on the size of its pages: they end where less than
        one leg's depth of all that the legs found fits, since what lies below fits even less. The
        last depth is for what has variants: these have taken the places of others.
        """
        if self.plan.lists_all:
            return self._takes_all or len(results.hits) >= wanted
        if not self._is_fused:
            return self._takes_all or _is_settled(results, wanted)
        fitting = len(results.products) + results.dropped + results.recalled.unwanted
        has_more = fitting >= results.limit
        is_last = results.limit >= HybridDepth.FURTHER and not results.has_variants
        is_full = len(results.hits) >= wanted and not self._takes_all
        return not has_more or is_last or is_full

    @property
    def _is_fused(self) -> bool:
        """Whether the order is that of several legs, whose depth it depends on."""
        return self.plan.mode is SearchMode.hybrid and not self.plan.lists_all

    def _recall(self, limit: int, filters: SearchFilters) -> Steps[Recall]:
        if self.plan.lists_all and not self.plan.asks_nothing:
            return list_products(self.database, self.plan, filters, limit)
        return recall(self.plan, self.vectors, filters, self.calibration, limit)

    def _fitting(self, recalled: Recall, page: Page, limit: int) -> Steps[Results]:
        fitting, below = recalled.split(self._line(recalled))
        filters = self.plan.query.request.filters
        choose = every if self._takes_all else page.shown
        found = yield from hydrate(self.plan, recalled, fitting, filters, choose)
        # A single leg's confidence falls with its score: below the first that does not fit,
        # however deep, nothing fits.
        is_cut = bool(below) and not self._is_fused
        is_complete = recalled.is_complete or is_cut
        # A list leaves attributes to hydration: what does not pass was never found.
        dropped = 0 if self.plan.lists_all else len(fitting) - len(found.hits)
        hits = best_of_groups(found.hits)
        return Results(found, found.hits, hits, below, dropped, is_complete, limit)

    def _near_misses(self, results: Results) -> Steps[list[SearchHit]]:
        """Return the nearest where nothing fits."""
        if results.hits or not results.below:
            return []
        recalled = results.recalled
        keys, confidences = recalled.fused.milvus_ids, recalled.confidences
        assert confidences is not None, "without confidence there is nothing below"
        nearest = sorted(results.below, key=lambda place: (-confidences[place], keys[place]))
        page = Page(frozenset(), 0, _NEAR_MISSES)
        request, places = self.plan.query.request, nearest[:_NEAREST]
        found = yield from hydrate(self.plan, recalled, places, request.filters, page.shown)
        hydrated = found.hydrated(page.shown(found.hits))
        return self._hits(hydrated)

    def _hits(
        self,
        shown: Sequence[HydratedHit],
        skipped: int = 0,
        unfiltered: Mapping[int, int] = MappingProxyType({}),
    ) -> list[SearchHit]:
        explain = self.plan.query.request.explain
        return to_search_hits(
            shown, self.addresses, skipped, explain=explain, unfiltered=unfiltered
        )

    def _ranks_without_filters(self, limit: int) -> Steps[dict[int, int] | None]:
        """Return the ranks of all that fit, by milvus_id, of legs that are read as deep.

        Variants have the rank of their group.

        None where nothing is filtered, or the order is not that of relevance.
        """
        request = self.plan.query.request
        is_ranked = request.sort is SearchSort.relevance and not self.plan.lists_all
        if request.filters == SearchFilters() or not is_ranked:
            return None
        recalled = yield from self._recall(limit, SearchFilters())
        fitting, _ = recalled.split(self._line(recalled))
        found = yield from hydrate(self.plan, recalled, fitting, SearchFilters(), none)
        ranks = {one.unit: rank for rank, one in enumerate(best_of_groups(found.hits), start=1)}
        keys = recalled.fused.milvus_ids
        return {int(keys[one.place]): ranks[one.unit] for one in found.hits}

    def _is_index_behind(self) -> bool:
        """Return whether products wait that are not in the collection yet."""
        return bool(self.database.read(counts.count_up_to, 1))

    def _next_cursor(self, seen: frozenset[int] | None) -> str | None:
        if seen is None or len(seen) >= _MOST_SEEN:
            return None
        return self.cursors.write(self.plan.query.digest, self.collection.name, seen)


def to_search_hits(
    page: Sequence[HydratedHit],
    addresses: Addresses,
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
            product=product_out(product, addresses),
            more_in_group=more,
            explain=_explain(hit, unfiltered) if explain else None,
        )
        for rank, (hit, product, more) in enumerate(page, start=skipped + 1)
    ]


def _is_settled(results: Results, wanted: int) -> bool:
    """Return whether the page is full, and no hit that ties with its last one can be missing.

    Equal scores are ordered by key: with one of them missing, another page would have another
    order.
    """
    hits, scores = results.hits, results.recalled.fused.scores
    return len(hits) >= wanted and bool(scores[hits[wanted - 1].place] > scores[-1])


def _sort(found: Hydration, sort: SearchSort) -> Sequence[BoundHit]:
    """Sort by price, products without one last, or by age; ties go by relevance."""

    def key(one: BoundHit) -> tuple[bool, float]:
        product = found.rows[one.product_id]
        if sort is SearchSort.newest:
            return False, -product.created_at.timestamp()
        if product.price is None:
            return True, 0.0
        return False, float(product.price if sort is SearchSort.price_asc else -product.price)

    return sorted(found.hits, key=key)


def _facets(found: Hydration) -> Facets:
    rows = ((one.unit, found.rows[one.product_id]) for one in found.hits)
    return count_facets(
        FacetValues(unit, row.category, row.brand, row.price, row.attributes) for unit, row in rows
    )


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
