"""Insights into the whole catalog, as the API gives them: duplicates, audit, map."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from product_search.schemas import examples
from product_search.schemas.fields import INT64_MAX, Strict, Whole
from product_search.schemas.matching import MatchPair
from product_search.schemas.search import VectorField


class InsightRun(BaseModel):
    """A walk over the whole catalogue, whatever became of it."""

    run_id: int
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    error: str | None = Field(None, description="state 为 failed 时的原因")
    finished_at: datetime | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether the run has not ended."""
        return self.state in ("queued", "running")


class PageQuery(Strict):
    """Which page of what the last finished walk found, or of the list of runs."""

    limit: Whole = Field(20, ge=1, le=100)
    after: Whole = Field(0, ge=0, le=INT64_MAX, description="上一页的 next_after")


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


class DuplicateRun(InsightRun):
    """A search for duplicates, whatever became of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.QUEUED_DUPLICATES]})

    products: int = Field(0, description="比较过的商品数")
    groups: int = Field(0, description="找到的组数")


class DuplicatesQuery(PageQuery):
    """The query string of `GET /product/duplicates`."""


class DuplicatesPage(BaseModel):
    """One page of what the last finished search found."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.DUPLICATES]})

    last: DuplicateRun | None = Field(description="最近一次完成的查重；从未有过则为 null")
    newest: DuplicateRun | None = Field(description="最新一次，可能仍在排队或进行")
    groups: list[DuplicateGroup]
    next_after: int | None = Field(description="下一页的 after；没有下一页则为 null")


class AuditItem(MatchPair):
    """A product whose picture and title may not belong together."""

    product_id: int
    title: str
    image_url: str = Field(description="同 `GET /product/{product_id}` 的 image_url")
    image_generated: bool = Field(description="图片由模型生成，不是照片")
    standing: float = Field(
        description="score 减去图片与别的标题、标题与别的图片通常的分数；按它从低到高排列"
    )


class AuditRun(InsightRun):
    """An audit, whatever became of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.QUEUED_AUDIT]})

    checked: int = Field(0, description="比较过图片与标题的商品数")
    skipped: int = Field(0, description="有图片、尚未索引的商品数")
    mismatched: int | None = Field(
        0, description="其中 verdict 为 mismatch 的；null：在用的编码器没有校准"
    )


class AuditQuery(PageQuery):
    """The query string of `GET /product/audit`."""


class AuditPage(BaseModel):
    """One page of what the last finished audit found."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.AUDIT]})

    last: AuditRun | None = Field(description="最近一次完成的核查；从未有过则为 null")
    newest: AuditRun | None = Field(description="最新一次，可能仍在排队或进行")
    items: list[AuditItem] = Field(
        description="最不相符的在前，共最多 1000 个；此后改过标题、图片或已删除的不在其中"
    )
    next_after: int | None = Field(description="下一页的 after；没有下一页则为 null")


MapField = Literal[VectorField.image_clip, VectorField.text_clip, VectorField.text_bge]


class MapQuery(Strict):
    """The query string of `GET /product/map`."""

    field: MapField = VectorField.image_clip


class MapPoint(BaseModel):
    """A product on the map."""

    product_id: int
    x: float
    y: float
    category: str | None
    image_url: str | None = Field(description="同 `GET /product/{product_id}` 的 image_url")


class MapComputing(BaseModel):
    """There is no map of this field yet."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.MAP_COMPUTING]})

    state: Literal["computing"] = "computing"
    error: str | None = Field(None, description="上一次没有算成的原因")


class CatalogMap(BaseModel):
    """The catalogue in two dimensions, by the principal components of one vector field."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.MAP]})

    field: MapField
    collection: str = Field(description="向量所在的 Milvus 集合")
    computed_at: datetime
    stale: bool = Field(description="此后商品或集合变了：新的正在计算")
    explained_variance: tuple[float, float] = Field(description="两个方向各占全部方差的比例")
    total: int = Field(description="有这种向量的商品数")
    shown: int = Field(description="points 的个数：最多 10000，更多时均匀取样")
    points: list[MapPoint] = Field(description="按 product_id；已删除的商品不在其中")
