"""Below every floor: what is asked of the vectors that searches go by, and what that answers."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SkipValidation,
    ValidationInfo,
    model_validator,
)

from product_search import api_examples
from product_search.errors import ErrorBody
from product_search.field_types import ProductId, Query, Strict
from product_search.search_models import SearchHit, SearchRequest, SearchResponse, TookMs

MAX_QUERIES = 64
MAX_BATCH_PICTURES = 64  # 3 MB each, once decoded
MAX_RERANKED = 500


def _distinct(product_ids: list[int]) -> list[int]:
    if len(set(product_ids)) < len(product_ids):
        raise ValueError("不能重复")
    return product_ids


class BatchRequest(Strict):
    """Searches to be answered together."""

    model_config = ConfigDict(json_schema_extra={"examples": [api_examples.BATCH]})

    # Each is checked by itself, so that the mistake of one is that one's.
    queries: list[SkipValidation[SearchRequest]] = Field(
        min_length=1,
        max_length=MAX_QUERIES,
        description="各与 POST /search 的 JSON 请求体相同；图片共不超过 64 张",
    )


class BatchResponse(BaseModel):
    """One result for each query, in their order."""

    model_config = ConfigDict(json_schema_extra={"examples": [api_examples.BATCH_ANSWER]})

    results: list[SearchResponse | ErrorBody] = Field(
        description="每个查询的回答，或它自己的错误 {code, message, fields?}"
    )


class RerankRequest(Strict):
    """Products to put in order by how well they fit a text, a picture or both."""

    model_config = ConfigDict(json_schema_extra={"examples": [api_examples.RERANK]})

    product_ids: Annotated[list[ProductId], AfterValidator(_distinct)] = Field(
        min_length=1, max_length=MAX_RERANKED
    )
    text: Query | None = None
    image_base64: str | None = Field(None, description="图片的 base64，或 data URI")

    @model_validator(mode="after")
    def _something_to_fit(self, info: ValidationInfo) -> Self:
        """The context's `upload` says that a file `image` came beside these fields."""
        uploaded = bool((info.context or {}).get("upload"))
        if self.text is None and self.image_base64 is None and not uploaded:
            raise ValueError("text 与 image_base64（或文件 image）至少给出一个")
        return self


class RerankResponse(BaseModel):
    """The given products, the best first."""

    model_config = ConfigDict(json_schema_extra={"examples": [api_examples.RERANK_ANSWER]})

    hits: list[SearchHit] = Field(description="所有在且已索引的商品；没有界线")
    total: int
    missing: list[int] = Field(description="不存在或尚未索引的 product_id，按请求中的顺序")
    corrected_query: str | None = Field(None, description="代替 text 的查询：原文像是写错了")
    encoder: str = Field(description="作答的编码器：starter 或 chinese-clip")
    took_ms: TookMs
