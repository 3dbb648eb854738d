"""Hydration: recalled hits bound to the products of the relational store, as these are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from data_models import SearchSort, VectorField
from orm_models import ProductRow
from product_search.milvus.filters import passes
from product_search.search.plan import FIELDS, Plan
from product_search.search.recall import Recall, RecalledHit
from product_search.search.together import Binding, Steps, bound


class BoundHit(NamedTuple):
    """A recalled entity, by its place in the recall, and the product that it is bound to."""

    place: int
    product_id: int


@dataclass(frozen=True)
class Page:
    """Which of the hits a response shows: so many after those that the client has seen."""

    seen: frozenset[int]  # ids of products on pages before
    offset: int
    size: int

    @property
    def skipped(self) -> int:
        """How many hits come before the page."""
        return len(self.seen) + self.offset

    def unseen(self, hits: Sequence[BoundHit]) -> Sequence[BoundHit]:
        """Return the page's hits and all that follow them."""
        return [one for one in hits if one.product_id not in self.seen][self.offset :]

    def shown(self, hits: Sequence[BoundHit]) -> Sequence[BoundHit]:
        """Return the page's hits."""
        return self.unseen(hits)[: self.size]


class HydratedHit(NamedTuple):
    """A recalled hit and its row."""

    hit: RecalledHit
    product: ProductRow


@dataclass(frozen=True, eq=False)
class Hydration:
    """The hits whose product exists and passes the filters, in the order of relevance.

    `rows` has by id the products of the page, or of all hits where these are sorted or counted; it
    may have more.
    """

    recalled: Recall
    hits: Sequence[BoundHit]
    rows: Mapping[int, ProductRow]

    def hydrated(self, hits: Sequence[BoundHit]) -> list[HydratedHit]:
        """Return the hits, whose rows must be known."""
        recalled = self.recalled
        return [HydratedHit(recalled.hit(one.place), self.rows[one.product_id]) for one in hits]


def hydrate(plan: Plan, recalled: Recall, places: Sequence[int], page: Page) -> Steps[Hydration]:
    """Return the hits at these places of the recall.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    if not places:
        return Hydration(recalled, [], {})
    keys = recalled.fused.milvus_ids[places].tolist()

    def bind(product_ids: Mapping[int, int]) -> list[BoundHit]:
        found = zip(places, map(product_ids.get, keys), strict=True)
        return [BoundHit(place, product_id) for place, product_id in found if product_id]

    def every(product_ids: Mapping[int, int]) -> list[int]:
        return [one.product_id for one in bind(product_ids)]

    def shown(product_ids: Mapping[int, int]) -> list[int]:
        return [one.product_id for one in page.shown(bind(product_ids))]

    filters, watch = plan.query.request.filters, plan.query.watch
    needs_image = {FIELDS[leg] for leg in plan.legs} == {VectorField.image_clip}
    choose = every if _needs_all_rows(plan) else shown
    products = yield from bound(Binding(keys, filters, needs_image, choose, watch))
    hits, rows = bind(products.ids), products.rows
    if filters.attributes:
        hits = [one for one in hits if passes(rows[one.product_id].attributes, filters)]
    return Hydration(recalled, hits, rows)


def _needs_all_rows(plan: Plan) -> bool:
    request = plan.query.request
    is_sorted = request.sort is not SearchSort.relevance
    return is_sorted or bool(request.facets or request.filters.attributes)
