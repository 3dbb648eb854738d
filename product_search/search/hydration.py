"""Hydration: recalled hits bound to the products of the relational store, as these are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from data_models import SearchSort, VectorField
from orm_models import (
    Database,
    Product,
    ProductRow,
    filter_conditions,
    products_by_milvus_id,
)
from product_search.catalog.rows import bound_products
from product_search.milvus.filters import passes
from product_search.search.plan import FIELDS, Plan
from product_search.search.recall import Recall, RecalledHit


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

    `rows` has by id the products of the page, or of all hits where these are sorted or counted.
    """

    recalled: Recall
    hits: Sequence[BoundHit]
    rows: Mapping[int, ProductRow]

    def hydrated(self, hits: Sequence[BoundHit]) -> list[HydratedHit]:
        """Return the hits, whose rows must be known."""
        recalled = self.recalled
        return [HydratedHit(recalled.hit(one.place), self.rows[one.product_id]) for one in hits]


def hydrate(
    database: Database, plan: Plan, recalled: Recall, places: Sequence[int], page: Page
) -> Hydration:
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

    def shown(product_ids: Mapping[int, int]) -> list[int]:
        return [one.product_id for one in page.shown(bind(product_ids))]

    conditions = filter_conditions(plan.query.request.filters)
    if all(FIELDS[leg] is VectorField.image_clip for leg in plan.legs):
        conditions.append(Product.image_hash.is_not(None))
    with plan.query.watch.stage("hydrate"):
        if _needs_all_rows(plan):
            rows = _passing(database.read(products_by_milvus_id, keys, *conditions), plan)
            product_ids = {row.milvus_id: row.id for row in rows}
        else:
            product_ids, rows = database.read(bound_products, keys, conditions, shown)
        return Hydration(recalled, bind(product_ids), {row.id: row for row in rows})


def _needs_all_rows(plan: Plan) -> bool:
    request = plan.query.request
    is_sorted = request.sort is not SearchSort.relevance
    return is_sorted or bool(request.facets or request.filters.attributes)


def _passing(rows: Sequence[ProductRow], plan: Plan) -> Sequence[ProductRow]:
    """Return the rows that pass the filters' conditions on attributes."""
    filters = plan.query.request.filters
    return [row for row in rows if passes(row.attributes, filters)] if filters.attributes else rows
