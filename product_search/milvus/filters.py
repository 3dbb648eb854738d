"""Filters on attributes, applied to a row as Milvus's expression is to an entity."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from product_search.schemas.filters import NumberRange, SearchFilters

_ENDS = {"gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}


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
