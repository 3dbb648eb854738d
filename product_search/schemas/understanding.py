"""How a query was understood: which of its words were taken for more than words to search for."""

from __future__ import annotations

import operator
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from product_search.schemas.fields import Flag, Price, Strict


class InterpretedKind(StrEnum):
    """What words of a query may be taken for."""

    price = "price"
    negation = "negation"
    phrase = "phrase"


class Understanding(Strict):
    """Which kinds of words are understood; the others are searched for as they were typed."""

    price: Flag = Field(True, description="价格的词（300元以内）成为 filters.price，不再当作词去找")
    negation: Flag = Field(
        True, description="“不要……”“无……”“-……”分出不要的东西；写明没有它的商品在前"
    )
    phrase: Flag = Field(True, description="引号里的词须连在一起：没有它的商品不列出")


def _by_kind(value: object) -> object:
    """Return true and false as the same for every kind."""
    if isinstance(value, bool):
        return dict.fromkeys(Understanding.model_fields, value)
    return value


Understand = Annotated[
    Understanding, BeforeValidator(_by_kind, json_schema_input_type=bool | Understanding)
]


class PriceBounds(BaseModel):
    """The lowest and the highest price, both included; null: no such bound."""

    gte: Price | None = None
    lte: Price | None = None


def _is_none(value: object) -> bool:
    return value is None


class Meaning(BaseModel):
    """What the words mean: one of these, by their kind."""

    price: PriceBounds | None = Field(
        None, description="price：与 filters.price 同形", exclude_if=_is_none
    )
    without: str | None = Field(None, description="negation：不要的东西", exclude_if=_is_none)
    together: str | None = Field(None, description="phrase：连在一起的词", exclude_if=_is_none)


class Interpretation(BaseModel):
    """Words of the query, and what they were taken for."""

    kind: InterpretedKind
    text: str = Field(description="查询里的原词")
    meaning: Meaning
    contradicts: bool = Field(
        False,
        description="true：与 filters 或前面的词矛盾，没有商品能都符合，hits 为空；不矛盾时不出现",
        exclude_if=operator.not_,
    )
