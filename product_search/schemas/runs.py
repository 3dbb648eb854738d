"""Runs of every kind, as the API lists them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from product_search.schemas import examples


class RunOut(BaseModel):
    """An import, a reindexing, a generation, or a walk over the whole catalogue."""

    run_id: int = Field(description="import 与 local_import：也是 import_id")
    kind: Literal[
        "import", "local_import", "reindex", "doctor", "duplicates", "audit", "map", "generate"
    ] = Field(
        description="local_import：`manage import` 的导入；doctor：核对两个存储；generate：图片生成"
    )
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    subject: str | None = Field(
        description="import：文件名；reindex：编码器，null 为删除旧集合；"
        "doctor：修复时为 repair；map：向量字段；generate：提示；其余为 null"
    )
    done: int | None = Field(
        description="已处理的行数（导入）、步数（图片生成）或商品数；不知道则为 null"
    )
    total: int | None = Field(description="总数；不知道则为 null")
    error: str | None = Field(description="state 为 failed 时的原因")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_under_way(self) -> bool:
        """Whether the run has not ended."""
        return self.state in ("queued", "running")


class RunsPage(BaseModel):
    """One page of the runs."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.RUNS]})

    items: list[RunOut] = Field(description="新的在前")
    next_after: int | None = Field(description="下一页的 after；没有下一页则为 null")
