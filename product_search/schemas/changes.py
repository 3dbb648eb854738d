"""The log of changes, as the API lists it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from product_search.schemas.fields import ProductId
from product_search.schemas.filters import Moment
from product_search.schemas.insights import PageQuery

SubjectKind = Literal["product", "run", "collection", "key"]
_EXAMPLE: dict[str, Any] = {
    "items": [
        {
            "change_id": 12,
            "at": "2026-01-01T08:00:00.000001Z",
            "operation": "product_updated",
            "principal": "店铺后台",
            "key_id": "Zk3v9Q",
            "request_id": "5f0c1c8e6f3a4a53b0b6a1f1f9d2c7e4",
            "subject_kind": "product",
            "subject_id": "1",
            "count": 1,
            "detail": {"fields": ["price", "title"]},
        },
        {
            "change_id": 11,
            "at": "2026-01-01T07:00:00.000001Z",
            "operation": "import_finished",
            "principal": "command:operator",
            "key_id": None,
            "request_id": None,
            "subject_kind": "run",
            "subject_id": "9",
            "count": 298,
            "detail": {"state": "done", "rows_done": 298, "created": 298, "bad": 0},
        },
    ],
    "next_after": None,
}


class ChangeOperation(StrEnum):
    """What was done; these names never change."""

    product_created = "product_created"
    product_updated = "product_updated"
    product_deleted = "product_deleted"
    product_retried = "product_retried"
    import_started = "import_started"
    import_finished = "import_finished"
    import_cancelled = "import_cancelled"
    repair_started = "repair_started"
    repair_finished = "repair_finished"
    repair_cancelled = "repair_cancelled"
    reindex_started = "reindex_started"
    reindex_finished = "reindex_finished"
    reindex_cancelled = "reindex_cancelled"
    reindex_rolled_back = "reindex_rolled_back"
    collection_retired = "collection_retired"
    generation_started = "generation_started"
    generation_finished = "generation_finished"
    generation_cancelled = "generation_cancelled"
    key_created = "key_created"
    key_revoked = "key_revoked"
    signing_rotated = "signing_rotated"


class ChangesQuery(PageQuery):
    """Which records of the log of changes."""

    operation: ChangeOperation | None = Field(None, description="只要这种操作")
    product_id: ProductId | None = Field(None, description="只要对这个商品的单独改动")
    since: Moment | None = Field(None, description="只要这个时刻（含）以后的")


class ChangeOut(BaseModel):
    """A change, and who made it."""

    change_id: int
    at: datetime
    operation: str = Field(description="见参数 operation；更新的版本可能有更多")
    principal: str = Field(
        description="密钥的名字；anonymous：不需要密钥时；service：服务启动时自己做的；"
        "command:用户名：manage 的命令"
    )
    key_id: str | None = Field(description="密钥的公开部分；没有用密钥则为 null")
    request_id: str | None = Field(description="请求的 X-Request-ID；不出自请求则为 null")
    subject_kind: str = Field(description="product、run、collection 或 key")
    subject_id: str | None = Field(
        description="product_id、run_id、集合名或密钥的公开部分；一次改动多个则为 null"
    )
    count: int = Field(description="改动了几个；导入：新增与更新的商品数；修复：修复的处数")
    detail: dict[str, Any] = Field(description="其余要点，例如改了哪些字段；没有内容")


class ChangesPage(BaseModel):
    """One page of the log of changes."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    items: list[ChangeOut] = Field(description="新的在前")
    next_after: int | None = Field(description="下一页的 after；没有下一页则为 null")
