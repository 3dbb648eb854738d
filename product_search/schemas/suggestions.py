"""Suggestions while a person types."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from product_search.schemas import examples
from product_search.schemas.fields import MAX_QUERY, Strict, Whole


class SuggestionKind(StrEnum):
    """Where a suggestion comes from; of one that comes from several, the first of these."""

    category = "category"
    brand = "brand"
    query = "query"
    title_words = "title"  # str.title is a method


class SuggestQuery(Strict):
    """The query string of `GET /suggest`."""

    q: Annotated[str, Field(max_length=MAX_QUERY)] = Field(
        "", description="已输入的部分：文字、拼音（可不完整）或拼音首字母；空白：最常用的"
    )
    limit: Whole = Field(10, ge=1, le=50)


class Suggestion(BaseModel):
    """A word, a phrase or a whole query that begins as what was typed."""

    text: str
    kind: SuggestionKind = Field(
        description="类目、品牌、多次有结果的查询，或商品标题里的词；几处都有的只出现一次，取排在前的"
    )
    products: int | None = Field(description="有它的商品数；null：只作为查询出现过，数目不知道")


class SuggestResponse(BaseModel):
    """Suggestions, the best first."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.SUGGESTIONS]})

    suggestions: list[Suggestion]
