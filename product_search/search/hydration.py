"""Hydration: recalled hits bound to the products of the relational store, as these are now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from data_models import SearchFilters, VectorField
from orm_models import ProductRow
from product_search.catalog.rows import BoundProduct
from product_search.milvus.filters import passes
from product_search.search.pages import BoundHit
from product_search.search.plan import FIELDS, Plan
from product_search.search.recall import Recall, RecalledHit
from product_search.search.together import Binding, Steps, bound

Choose = Callable[[Sequence[BoundHit]], Sequence[BoundHit]]


class HydratedHit(NamedTuple):
    """A recalled hit, its row, and how many products of its group fit besides."""

    hit: RecalledHit
    product: ProductRow
    more_in_group: int = 0


@dataclass(frozen=True, eq=False)
class Hydration:
    """The hits whose product exists and passes the filters, in the order of relevance.

    `rows` has by id the products that were chosen; it may have more.
    """

    recalled: Recall
    hits: Sequence[BoundHit]
    rows: Mapping[int, ProductRow]

    def hydrated(self, hits: Sequence[BoundHit]) -> list[HydratedHit]:
        """Return the hits, whose rows must be known."""
        groups = {one.group for one in hits if one.group is not None}
        sizes = Counter(one.unit for one in self.hits if one.group in groups) if groups else {}
        return [
            HydratedHit(
                self.recalled.hit(one.place),
                self.rows[one.product_id],
                sizes.get(one.unit, 1) - 1,
            )
            for one in hits
        ]


def every(hits: Sequence[BoundHit]) -> Sequence[BoundHit]:
    """Choose the rows of all hits."""
    return hits


def none(_hits: Sequence[BoundHit]) -> Sequence[BoundHit]:
    """Choose no row."""
    return ()


def hydrate(
    plan: Plan, recalled: Recall, places: Sequence[int], filters: SearchFilters, choose: Choose
) -> Steps[Hydration]:
    """Return the hits at these places of the recall, without those that do not pass the filters.

    `choose` returns of the hits those whose rows are wanted; conditions on attributes want all.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    if not places:
        return Hydration(recalled, [], {})
    keys = recalled.fused.milvus_ids[places].tolist()
    in_groups = plan.query.request.collapse

    def bind(products: Mapping[int, BoundProduct]) -> list[BoundHit]:
        found = zip(places, map(products.get, keys), strict=True)
        return [
            BoundHit(place, one.id, one.group if in_groups else None) for place, one in found if one
        ]

    def chosen(products: Mapping[int, BoundProduct]) -> list[int]:
        hits = bind(products)
        return [one.product_id for one in (hits if filters.attributes else choose(hits))]

    needs_image = {FIELDS[leg] for leg in plan.legs} == {VectorField.image_clip}
    found = yield from bound(Binding(keys, filters, needs_image, chosen, plan.query.watch))
    hits, rows = bind(found.products), found.rows
    if filters.attributes:
        hits = [one for one in hits if passes(rows[one.product_id].attributes, filters)]
    return Hydration(recalled, hits, rows)
