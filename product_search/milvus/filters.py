"""Filters in Milvus's language, and what their conditions on attributes mean on a row."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from product_search.milvus.entities import cents, element_hash, microseconds, scalar, stored_key
from product_search.schemas.filters import MomentRange, NumberRange, PriceRange, SearchFilters

_ENDS = {"gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}


def filter_expression(filters: SearchFilters, *, image_leg: bool) -> str:
    """Return Milvus's boolean expression for the filters; "" where all entities pass.

    On attributes it agrees with `passes`, which reads a row.
    """
    parts = ["has_image == true"] if image_leg else []
    for field, values in (("category", filters.category), ("brand", filters.brand)):
        if values is not None:
            parts.append(f"{field} in [{', '.join(quoted(value) for value in values)}]")
    if filters.price is not None:
        parts.append(_price_expression(filters.price))
    if filters.has_image is not None:
        parts.append(f"has_image == {_literal(filters.has_image)}")
    if filters.created_at is not None:
        parts += _created_expressions(filters.created_at)
    for key, condition in (filters.attributes or {}).items():
        parts.append(_attribute_expression(key, condition))
    return _all(parts) if parts else ""


def _all(parts: Sequence[str]) -> str:
    """Join the parts by `and`, in halves of halves: Milvus refuses as long a chain as may come."""
    if len(parts) <= 4:
        return " and ".join(parts)
    half = len(parts) // 2
    return f"({_all(parts[:half])}) and ({_all(parts[half:])})"


def _price_expression(prices: PriceRange) -> str:
    low = cents(prices.gte) if prices.gte is not None else 0  # 0 leaves out _NO_PRICE
    high = f" and price <= {cents(prices.lte)}" if prices.lte is not None else ""
    return f"price >= {low}{high}"


def _created_expressions(moments: MomentRange) -> Iterator[str]:
    for sign, moment in ((">=", moments.gte), ("<=", moments.lte)):
        if moment is not None:
            yield f"created_at {sign} {microseconds(moment)}"


def _attribute_expression(key: str, condition: Sequence[object] | NumberRange) -> str:
    name = f"attributes[{_string(stored_key(key))}]"
    if isinstance(condition, NumberRange):
        ends = {
            ">=": condition.gte,
            ">": condition.gt,
            "<=": condition.lte,
            "<": condition.lt,
        }
        return " and ".join(
            f"{name} {sign} {_literal(end)}" for sign, end in ends.items() if end is not None
        )
    parts = []
    for kind in (str, float, bool):  # a list of values has one type
        literals = [_literal(value) for value in condition if type(value) is kind]
        if literals:
            parts.append(f"{name} in [{', '.join(literals)}]")
    parts.append(f"json_contains_any({name}, {[element_hash(value) for value in condition]})")
    return f"({' or '.join(parts)})"


def _literal(value: object) -> str:
    """Write a value as a literal; all numbers are doubles, since a list has one type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else repr(value)


def quoted(value: str) -> str:
    """Write the string, as the collection holds it, as a literal of an expression."""
    return _string(scalar(value))


def _string(held: str) -> str:
    escaped = held.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def passes(attributes: Mapping[str, Any], filters: SearchFilters) -> bool:
    """Return whether these attributes pass the filters' conditions on attributes."""
    return all(
        _in_range(attributes.get(key), condition)
        if isinstance(condition, NumberRange)
        else _is_one_of(attributes.get(key), condition)
        for key, condition in (filters.attributes or {}).items()
    )


def _in_range(value: object, wanted: NumberRange) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    ends = ((holds, getattr(wanted, end)) for end, holds in _ENDS.items())
    return all(end is None or holds(float(value), end) for holds, end in ends)


def _is_one_of(value: object, wanted: Sequence[object]) -> bool:
    """Return whether the value, or an element of the list, is wanted; lists in lists never are."""
    keys = {_comparable(element) for element in wanted}
    return any(
        _comparable(element) in keys
        for element in (value if isinstance(value, list) else [value])
        if isinstance(element, str | bool | int | float)
    )


def _comparable(value: object) -> tuple[bool, object]:
    """Return a key that is equal where Milvus says so: true is not 1, numbers are doubles."""
    is_bool = isinstance(value, bool)
    return is_bool, float(value) if isinstance(value, int | float) and not is_bool else value
