"""Facets: how many hits have each category, brand, price band and attribute; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from data_models import (
    MAX_FACET_KEYS,
    MAX_FACET_VALUES,
    MAX_LABEL,
    AttributeCount,
    AttributeFacet,
    FacetCount,
    Facets,
    PriceBand,
    Scalar,
)

# Where one band ends and the next begins: the amounts that shoppers round to.
_EDGES = [
    Decimal(edge)
    for edge in (0, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 100_000, 1_000_000)
]
_SAFE = 2**53  # up to here a double is the whole number that it was


class FacetValues(NamedTuple):
    """A product's values that facets count, and the hit that it belongs to: its group or itself."""

    unit: int | str
    category: str | None
    brand: str | None
    price: Decimal | None
    attributes: Mapping[str, Any]


def count_facets(products: Iterable[FacetValues]) -> Facets:
    """Count the hits by category, brand, price band and attribute; equal counts go by value.

    A hit of several variants counts once for each value that one of these has.
    """
    categories: set[tuple[int | str, str]] = set()
    brands: set[tuple[int | str, str]] = set()
    bands: set[tuple[int | str, int]] = set()
    attributes: list[tuple[int | str, Mapping[str, Any]]] = []
    for unit, category, brand, price, held in products:
        if category is not None:
            categories.add((unit, category))
        if brand is not None:
            brands.add((unit, brand))
        if price is not None:
            bands.add((unit, bisect_right(_EDGES, price)))
        if held:
            attributes.append((unit, held))
    return Facets(
        category=_counts(categories),
        brand=_counts(brands),
        price=_bands(bands),
        attributes=_attributes(attributes),
    )


def _by_value(pairs: Iterable[tuple[Hashable, Any]]) -> Counter[Any]:
    return Counter(value for _, value in pairs)


def _counts(pairs: Iterable[tuple[int | str, str]]) -> list[FacetCount]:
    falling = sorted(_by_value(pairs).items(), key=lambda pair: (-pair[1], pair[0]))
    return [FacetCount(value=value, count=count) for value, count in falling]


def _bands(pairs: Iterable[tuple[int | str, int]]) -> list[PriceBand]:
    ends: list[Decimal | None] = [*_EDGES, None]
    return [
        PriceBand(gte=_EDGES[place - 1], lt=ends[place], count=count)
        for place, count in sorted(_by_value(pairs).items())
    ]


def _attributes(products: Sequence[tuple[int | str, Mapping[str, Any]]]) -> list[AttributeFacet]:
    """Return the attributes that at least two products have, those of the most products first."""
    held: dict[str, set[tuple[int | str, tuple[str, Scalar]]]] = {}
    having: Counter[str] = Counter()
    for unit, attributes in products:
        for key, value in attributes.items():
            values = set(_scalars(value))
            if values:
                having[key] += 1
                held.setdefault(key, set()).update((unit, one) for one in values)
    shared = sorted((-count, key) for key, count in having.items() if count > 1)
    return [
        AttributeFacet(key=key, values=_values(held[key])) for _, key in shared[:MAX_FACET_KEYS]
    ]


def _scalars(value: object) -> Iterator[tuple[str, Scalar]]:
    """Yield what a filter can name of an attribute's value, each after the name of its type.

    Where filters are concerned 1 is 1.0, and true is neither.
    """
    for one in value if isinstance(value, list) else (value,):
        if isinstance(one, bool):
            yield "bool", one
        elif isinstance(one, int | float):
            number = float(one)
            yield "float", int(number) if number.is_integer() and abs(number) < _SAFE else number
        elif isinstance(one, str) and len(one) <= MAX_LABEL:
            yield "str", one


def _values(pairs: Iterable[tuple[int | str, tuple[str, Scalar]]]) -> list[AttributeCount]:
    falling = sorted(_by_value(pairs).items(), key=lambda pair: (-pair[1], pair[0]))
    return [
        AttributeCount(value=value, count=count) for (_, value), count in falling[:MAX_FACET_VALUES]
    ]
