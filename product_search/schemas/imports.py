"""Imports, as the API gives them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from product_search.schemas import examples


class ImportAccepted(BaseModel):
    """The file is kept and will be imported, whatever happens to the service meanwhile."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.IMPORT_ACCEPTED]})

    import_id: int
    state: Literal["queued"] = "queued"
    status_url: str = Field(description="进度：`GET` 这个地址")


class ImportCounts(BaseModel):
    """How far an import is, in rows."""

    rows_total: int | None = Field(None, description="数完之前为 null")
    rows_done: int = Field(0, description="新增 + 更新 + 未变 + 坏行")
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    bad: int = 0
    warned: int = Field(0, description="收下了、但有不足的：例如图片缺了结尾")


class BadImportRow(BaseModel):
    """A row that was left out, or that went in with a fault."""

    line: int = Field(description="在文件中的行号，从 1 起")
    reason: str


class ImportStatus(ImportCounts):
    """An import, and a page of its bad rows in the order of the file."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.IMPORT_STATUS]})

    import_id: int
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    file: str = Field(description="上传时的文件名")
    error: str | None = Field(description="state 为 failed 时的原因")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    bad_rows: list[BadImportRow] = Field(description="坏行；每次导入记下前 10000 个")
    warnings: list[BadImportRow] = Field(
        default_factory=list, description="收下了、但有不足的行；每次导入记下前 10000 个"
    )
    next_after: int | None = Field(description="下一页坏行与警告的 `after`；没有更多时为 null")
