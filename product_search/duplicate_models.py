"""Below every floor: groups of products that seem to be the same one, as the API shows them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from product_search import api_examples
from product_search.field_types import INT64_MAX, Strict, Whole


class Why(StrEnum):
    """Why two products are thought to be one."""

    same_file = "same_file"
    same_title = "same_title"
    perceptual_hash = "perceptual_hash"
    embedding = "embedding"


class DuplicatePair(BaseModel):
    """Two products of a group."""

    product_ids: tuple[int, int]
    why: Why = Field(
        description="same_file：同一个图片文件；same_title：同标题同品牌（至少一方没有图片）；"
        "perceptual_hash：图片看上去一样；embedding：图片向量相近，且一张是另一张的一部分"
    )
    similarity: float = Field(
        description="1：完全相同；perceptual_hash：相同位的比例；embedding：余弦"
    )


class DuplicateGroup(BaseModel):
    """Products that seem to be the same one, in the order of their ids."""

    product_ids: list[int] = Field(description="最多 500 个")
    size: int = Field(description="组内商品总数")
    pairs: list[DuplicatePair] = Field(description="把它们连在一起的配对，最多 500 对")


class DuplicateRun(BaseModel):
    """A search for duplicates, whatever became of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [api_examples.QUEUED_DUPLICATES]})

    run_id: int
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    error: str | None = Field(None, description="state 为 failed 时的原因")
    finished_at: datetime | None = None
    products: int = Field(0, description="比较过的商品数")
    groups: int = Field(0, description="找到的组数")

    @property
    def is_under_way(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("queued", "running")


class DuplicatesQuery(Strict):
    """The query string of `GET /product/duplicates`."""

    limit: Whole = Field(20, ge=1, le=100)
    after: Whole = Field(0, ge=0, le=INT64_MAX, description="上一页的 next_after")


class DuplicatesPage(BaseModel):
    """One page of what the last finished search found."""

    model_config = ConfigDict(json_schema_extra={"examples": [api_examples.DUPLICATES]})

    last: DuplicateRun | None = Field(description="最近一次完成的查重；从未有过则为 null")
    newest: DuplicateRun | None = Field(description="最新一次，可能仍在排队或进行")
    groups: list[DuplicateGroup]
    next_after: int | None = Field(description="下一页的 after；没有下一页则为 null")
