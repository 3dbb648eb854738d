"""Facets: how many products have each category, brand and price band; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from data_models import FacetCount, Facets, PriceBand

# Where one band ends and the next begins: the amounts that shoppers round to.
_EDGES = [
    Decimal(edge)
    for edge in (0, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 100_000, 1_000_000)
]


class FacetValues(NamedTuple):
    """A product's values that facets count."""

    category: str | None
    brand: str | None
    price: Decimal | None


def count_facets(products: Iterable[FacetValues]) -> Facets:
    """Count the products by category, brand and price band; equal counts go by value."""
    categories: list[str | None] = []
    brands: list[str | None] = []
    prices: list[Decimal | None] = []
    for product in products:
        categories.append(product.category)
        brands.append(product.brand)
        prices.append(product.price)
    return Facets(category=_counts(categories), brand=_counts(brands), price=_bands(prices))


def _counts(values: Sequence[str | None]) -> list[FacetCount]:
    counted = Counter(value for value in values if value is not None)
    falling = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return [FacetCount(value=value, count=count) for value, count in falling]


def _bands(prices: Sequence[Decimal | None]) -> list[PriceBand]:
    counted = Counter(bisect_right(_EDGES, price) for price in prices if price is not None)
    ends: list[Decimal | None] = [*_EDGES, None]
    return [
        PriceBand(gte=_EDGES[place - 1], lt=ends[place], count=count)
        for place, count in sorted(counted.items())
    ]
