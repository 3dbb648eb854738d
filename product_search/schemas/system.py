"""The state of the service: health, and the drift that a check found."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from product_search.context import Scope
from product_search.schemas import examples


class DriftKind(StrEnum):
    """How the two stores, or the relational store and the pictures, can differ."""

    missing = "missing"
    orphaned = "orphaned"
    stale_revision = "stale_revision"
    wrong_encoder = "wrong_encoder"
    unqueued = "unqueued"
    missing_picture = "missing_picture"
    orphaned_picture = "orphaned_picture"


class DriftExample(BaseModel):
    """One thing that has drifted."""

    kind: DriftKind
    subject: str = Field(description="product_id；orphaned：向量主键；图片：文件名；或集合名")
    reason: str


class DriftRun(BaseModel):
    """A walk that has come to its end."""

    run_id: int
    repair: bool
    started_at: datetime
    finished_at: datetime
    seconds: float
    products: int = Field(description="核对过的商品数")
    entities: int = Field(description="核对过的向量实体数")
    pictures: int = Field(description="核对过的图片文件数")
    failed: int = Field(description="已知建立索引失败的商品数，不算不一致")
    found: dict[DriftKind, int]
    repaired: dict[DriftKind, int] = Field(description="其中已排队修复或已删除的")
    left: int = Field(description="其余：找到而未修复的总数")
    examples: list[DriftExample] = Field(description="每类最多 100 个")

    def left_of(self, kind: DriftKind) -> int:
        """Return how much drift of this kind was found and not repaired."""
        return self.found[kind] - self.repaired[kind]


class DoctorRun(BaseModel):
    """A walk, whatever became of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.QUEUED_RUN]})

    run_id: int
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    repair: bool
    error: str | None = Field(None, description="state 为 failed 时的原因")


class DriftReport(BaseModel):
    """The last walk that came to its end, and the newest one."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.DRIFT]})

    last: DriftRun | None
    newest: DoctorRun | None = Field(description="最新一次，可能仍在排队或进行")


class DriftTotal(BaseModel):
    """What the last walk left: a line of /health."""

    total: int
    at: datetime


class EncoderInfo(BaseModel):
    """Which encoders answer, and where they run."""

    name: str
    fingerprint: str
    device: str
    hint: str | None = Field(None, description="设置选的编码器与在用的不同时：怎样换")


class OutboxCounts(BaseModel):
    """Index work that waits, and that was given up."""

    pending: int
    retrying: int = Field(description="失败过、会自动重试的商品数")
    failed: int


class Alive(BaseModel):
    """The process answers; no store was asked."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.ALIVE]})

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the catalogue can be served."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.READY]})

    status: Literal["ok", "down"]
    reasons: list[str] = Field(description="status 为 down 的原因")


class Health(BaseModel):
    """`down` (503): the catalogue can't be served; `degraded`: search, indexing or writing can't,
    searches find only a part, or the last doctor's walk left drift that answers suffer from."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.HEALTH]})

    status: Literal["ok", "degraded", "down"]
    reasons: list[str] = Field(description="status 不是 ok 的原因，给人看")
    warnings: list[str] = Field([], description="不影响 status、而管理者应当知道的，给人看")
    database: Literal["ok", "down"]
    vector_store: Literal["ok", "filling", "down"] = Field(
        description="filling：在用的集合是新建的，或丢失了一部分，还在由数据库填充，"
        "搜索只找得到其中已有的商品"
    )
    storage: Literal["ok", "down"] = Field(
        description="数据文件夹能否写入；down：磁盘已满、只读，或没有权限，读取与搜索照常"
    )
    kafka: Literal["ok", "down"] | None = Field(
        None, description="最近一次向 Kafka 发布；不使用 Kafka 时为 null"
    )
    encoders: EncoderInfo
    outbox: OutboxCounts
    drift: DriftTotal | None = Field(
        None, description="最近一次核对剩下的不一致；从未核对则为 null"
    )


class Caller(BaseModel):
    """Whoever sends a request, as the service knows them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "张三", "scope": "write", "key_id": "3kTq9XwZb2Lm"}]
        }
    )

    name: str = Field(description="密钥的名字；服务不要求密钥时是 anonymous")
    scope: Scope = Field(
        description="最多可以做什么：read 只能查看，write 可以改动，admin 可以管理"
    )
    key_id: str | None = Field(description="密钥公开的部分；没有密钥时为 null")
