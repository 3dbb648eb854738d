"""What a filter on attributes means, on the row itself; Milvus's expression says the same."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from product_search.schemas.filters import NumberRange, SearchFilters

_ENDS = {"gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}


def passes(attributes: Mapping[str, Any], filters: SearchFilters) -> bool:
    """Whether a product with these attributes passes the filters' conditions on attributes."""
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
    """A value of its own, or an element of a list; not of a list in a list."""
    kinds = {_kinded(one) for one in wanted}
    return any(
        _kinded(one) in kinds
        for one in (value if isinstance(value, list) else [value])
        if isinstance(one, str | bool | int | float)
    )


def _kinded(value: object) -> tuple[bool, object]:
    """true is not 1, and numbers are doubles, as Milvus compares them."""
    is_bool = isinstance(value, bool)
    return is_bool, float(value) if isinstance(value, int | float) and not is_bool else value
