"""Whether the service can do its work, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import anyio
import anyio.to_thread
from fastapi import APIRouter, Response

from data_models import (
    Alive,
    DriftKind,
    DriftRun,
    DriftTotal,
    EncoderInfo,
    Health,
    OutboxCounts,
    Readiness,
)
from product_search.api.dependencies import Running, Service
from product_search.drift import reports
from product_search.errors import DatabaseUnavailable
from product_search.outbox import counts
from product_search.runs.background import Loop

router = APIRouter(tags=["系统"])

_NO_COUNTS = OutboxCounts(pending=0, retrying=0, failed=0)


@router.get("/health/live", summary="进程是否活着")
async def live() -> Alive:
    """只要进程能应答就是 200，不询问任何存储：数据库或 Milvus 变慢、停机，都不必重启它。"""
    return Alive()


@router.get(
    "/health/ready",
    summary="能否接请求",
    responses={503: {"model": Readiness, "description": "down：商品目录无法服务"}},
)
async def ready(service: Running, response: Response) -> Readiness:
    """数据库有应答即 200，否则 503；搜索是否可用见 GET /health。"""
    fault = await anyio.to_thread.run_sync(_database_fault, service, limiter=service.health_threads)
    if fault is None:
        return Readiness(status="ok", reasons=[])
    response.status_code = 503
    return Readiness(status="down", reasons=[f"数据库：{fault}"])


@router.get(
    "/health",
    summary="健康状况",
    responses={503: {"model": Health, "description": "down：商品目录无法服务"}},
)
async def health(service: Running, response: Response) -> Health:
    """`down`（503）：目录无法服务。

    `degraded`：搜索不可用或只能找到一部分，无法写入，有商品未能建立索引，或两个存储不一致；
    `reasons` 说明原因。
    """
    answer = await anyio.to_thread.run_sync(_health, service, limiter=service.health_threads)
    if answer.status == "down":
        response.status_code = 503
    return answer


def _health(service: Service) -> Health:
    resources = service.resources
    is_recovering = resources.recovery.is_needed  # before what it records is read
    database = _database_state(service)
    vector_fault = service.vector_store_pulse.find_fault(lambda: resources.entities.ping())
    storage_fault = service.storage_pulse.find_fault(resources.check_storage)
    image_fault = service.image_pulse.find_fault(resources.images.files.check)
    is_filling = database.is_filling or is_recovering
    faults = {
        "数据库": database.fault,
        "向量库": vector_fault or ("正在重新填充，只搜得到已填入的商品" if is_filling else None),
        "数据文件夹": storage_fault,
        "图片存储": image_fault,
        "建立索引": resources.indexing_loop.failure,
        "Kafka": _relay_failure(resources.relay_loop),
    }
    reasons = [f"{part}：{fault}" for part, fault in faults.items() if fault]
    reasons += _left_over(database)
    encoders = resources.collections.last_active().encoders
    return Health.model_validate(
        {
            "status": "down" if database.fault else "degraded" if reasons else "ok",
            "reasons": reasons,
            "warnings": service.listening.warnings,
            "database": _state(database.fault),
            "vector_store": "filling" if is_filling and not vector_fault else _state(vector_fault),
            "storage": _state(storage_fault or image_fault),
            "kafka": resources.relay_loop and _state(resources.relay_loop.failure),
            "encoders": EncoderInfo(
                name=encoders.name,
                fingerprint=encoders.fingerprint,
                device=encoders.device,
                hint=resources.encoder_hint(encoders),
            ),
            "outbox": database.waiting,
            "drift": database.drift_total,
        }
    )


def _state(fault: str | None) -> str:
    return "down" if fault else "ok"


def _relay_failure(relay: Loop | None) -> str | None:
    if relay is None or relay.failure is None:
        return None
    return "发布失败，请检查网络与 PRODUCT_SEARCH_KAFKA_BOOTSTRAP_SERVERS"


def _left_over(database: _Database) -> Iterator[str]:
    """Yield what is wrong with products, whatever the stores are."""
    if database.waiting.failed:
        yield f"有 {database.waiting.failed} 件商品未能建立索引"
    run = database.drift_run
    # Drift impairs answers, but for an image that nobody names.
    if run is not None and run.left > run.left_of(DriftKind.orphaned_picture):
        yield f"上次核对剩下 {run.left} 处不一致"


class _Database(NamedTuple):
    """What health needs of the relational store."""

    fault: str | None
    waiting: OutboxCounts = _NO_COUNTS
    drift_run: DriftRun | None = None
    is_filling: bool = False  # the active collection

    @property
    def drift_total(self) -> DriftTotal | None:
        """What the last doctor's walk left."""
        run = self.drift_run
        return None if run is None else DriftTotal(total=run.left, at=run.finished_at)


def _database_fault(service: Service) -> str | None:
    return service.database_pulse.find_fault(service.resources.database.ping)


def _database_state(service: Service) -> _Database:
    if fault := _database_fault(service):
        return _Database(fault)
    read = service.resources.database.read
    try:
        waiting, drift_run = read(counts.fetch_counts), read(reports.fetch_last)
        return _Database(None, waiting, drift_run, read(counts.is_rebuilding))
    except DatabaseUnavailable as error:
        return _Database(error.message)
