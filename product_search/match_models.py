"""Below every floor: what is asked of the vectors that searches go by, and what that answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SkipValidation

from product_search import api_examples
from product_search.errors import ErrorBody
from product_search.field_types import Strict
from product_search.search_models import SearchRequest, SearchResponse

MAX_QUERIES = 64
MAX_BATCH_PICTURES = 64  # 3 MB each, once decoded


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
