"""The filters of a search, and the facets that its answer counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from product_search.schemas import rules
from product_search.schemas.fields import (
    MAX_LABEL,
    Labels,
    Price,
    Strict,
    check_json,
)

MAX_KEYS = 20
MAX_VALUES = 100
MAX_FACET_KEYS = 20
MAX_FACET_VALUES = 50
Scalar = str | bool | float


@dataclass(frozen=True)
class NumberRange:
    """Numbers between these ends, at least one of which is given."""

    gte: float | None = None
    gt: float | None = None
    lte: float | None = None
    lt: float | None = None


_ENDS = tuple(end.name for end in fields(NumberRange))
_SCALAR_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "maxLength": MAX_LABEL},
        {"type": "number"},
        {"type": "boolean"},
    ]
}
_CONDITION_SCHEMA: dict[str, Any] = {
    "anyOf": [
        *_SCALAR_SCHEMA["anyOf"],
        {"type": "array", "items": _SCALAR_SCHEMA, "minItems": 1, "maxItems": MAX_VALUES},
        {
            "type": "object",
            "properties": {end: {"anyOf": [{"type": "number"}, {"type": "null"}]} for end in _ENDS},
            "additionalProperties": False,
            "allOf": [rules.some_of(*_ENDS)],
        },
    ]
}


def _condition(value: object) -> tuple[Scalar, ...] | NumberRange:
    """Return the values one of which passes, or the range."""
    if isinstance(value, NumberRange):
        return value
    if isinstance(value, Mapping):
        return _number_range(value)
    values = value if isinstance(value, list | tuple) else [value]
    if not 1 <= len(values) <= MAX_VALUES:
        raise ValueError(f"数组应有 1 到 {MAX_VALUES} 项")
    return tuple(_scalar(one) for one in values)


def _scalar(value: object) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if not isinstance(value, str):
        raise ValueError("条件应为字符串、数字、true 或 false，它们的数组，或数字的范围")
    check_json(value)
    if len(value) > MAX_LABEL:
        raise ValueError(f"字符串最多 {MAX_LABEL} 个字符")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("范围的两端应为数字")
    check_json(value)
    return float(value)


def _number_range(given: Mapping[object, object]) -> NumberRange:
    unknown = [str(name) for name in given if name not in _ENDS]
    if unknown:
        raise ValueError(f"不支持的运算符 {unknown[0][:MAX_LABEL]!a}：只能是 {'、'.join(_ENDS)}")
    ends = {str(end): _number(value) for end, value in given.items() if value is not None}
    if not ends:
        raise ValueError(f"{'、'.join(_ENDS)} 至少给出一个")
    lowest = max((ends[end] for end in ("gte", "gt") if end in ends), default=None)
    highest = min((ends[end] for end in ("lte", "lt") if end in ends), default=None)
    if lowest is not None and highest is not None and lowest > highest:
        raise ValueError("gte 与 gt 不能大于 lte 与 lt")
    return NumberRange(**ends)


def _as_json(condition: tuple[Scalar, ...] | NumberRange) -> object:
    return asdict(condition) if isinstance(condition, NumberRange) else list(condition)


def _moment(value: object) -> datetime:
    """Return a moment of ISO 8601 with a zone, in UTC."""
    example = "例如 2026-01-01T08:00:00+08:00"
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise ValueError(f"应为 ISO 8601 的时间，{example}")
    if moment.utcoffset() is None:
        raise ValueError(f"缺少时区，{example}")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("时间超出范围：公元 1 年到 9999 年（UTC）") from error


def _key(value: object) -> object:
    check_json(value)
    return value


Condition = Annotated[
    tuple[Scalar, ...] | NumberRange,
    PlainValidator(_condition),
    PlainSerializer(_as_json, return_type=Any),
    WithJsonSchema(_CONDITION_SCHEMA),
]
Moment = Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=datetime)]
Key = Annotated[str, BeforeValidator(_key, json_schema_input_type=str)]


_ONE_END = ConfigDict(json_schema_extra={"allOf": [rules.some_of("gte", "lte")]})


class PriceRange(Strict):
    """Both ends included; at least one is given."""

    model_config = _ONE_END

    gte: Price | None = None
    lte: Price | None = None

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        _check_ends(self.gte, self.lte)
        return self


class MomentRange(Strict):
    """Both ends included; at least one is given; each with its zone."""

    model_config = _ONE_END

    gte: Moment | None = None
    lte: Moment | None = None

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        _check_ends(self.gte, self.lte)
        return self


def _check_ends(low: Any, high: Any) -> None:
    if low is None and high is None:
        raise ValueError("gte 与 lte 至少给出一个")
    if low is not None and high is not None and low > high:
        raise ValueError("gte 不能大于 lte")


class SearchFilters(Strict):
    """Conditions that every hit meets; values match whole, case-sensitively."""

    category: Labels | None = None
    brand: Labels | None = None
    price: PriceRange | None = None
    attributes: dict[Key, Condition] | None = Field(
        None,
        min_length=1,
        max_length=MAX_KEYS,
        description=(
            "属性名到条件：一个值（相等）、数组（其中之一），或数字的范围 {gte, gt, lte, lt}；"
            "属性值是数组的，其中一项相等即可。true 不是 1；数字按双精度浮点数比较"
        ),
    )
    has_image: bool | None = Field(None, strict=True, description="有没有图片")
    created_at: MomentRange | None = Field(None, description="商品的创建时间")


class FacetCount(BaseModel):
    """How many of the products have this value."""

    value: str
    count: int


class PriceBand(BaseModel):
    """How many of the products have a price in [gte, lt)."""

    gte: Price
    lt: Price | None = Field(description="null：没有上限")
    count: int


class AttributeCount(BaseModel):
    """How many of the products have this value of an attribute, alone or in a list."""

    value: str | bool | int | float
    count: int


class AttributeFacet(BaseModel):
    """An attribute, and how many of the products have each of its values."""

    key: str
    values: list[AttributeCount] = Field(description=f"多的在前，最多 {MAX_FACET_VALUES} 个")


class Facets(BaseModel):
    """The hits by category, brand, price and attribute; those without a value are in no count.

    A hit that stands for several variants counts once for each value that one of them has.
    """

    category: list[FacetCount] = Field(description="多的在前")
    brand: list[FacetCount] = Field(description="多的在前")
    price: list[PriceBand] = Field(description="便宜的在前；没有商品的价位不列出")
    attributes: list[AttributeFacet] = Field(
        description=f"两个以上商品有的属性，有它的商品多的在前，最多 {MAX_FACET_KEYS} 个；"
        "只列 filters 能用的值：数字、true、false、不超过 100 个字符的字符串"
    )
