"""Whether the service can do its work, over HTTP."""

from __future__ import annotations

from typing import NamedTuple

import anyio
import anyio.to_thread
from fastapi import APIRouter, Response

from data_models import DriftKind, DriftRun, DriftTotal, EncoderInfo, Health, OutboxCounts
from product_search.api.dependencies import Running, Service
from product_search.bootstrap.assemble import Resources
from product_search.drift import reports
from product_search.errors import DatabaseUnavailable
from product_search.outbox import counts

router = APIRouter(tags=["系统"])


@router.get(
    "/health",
    summary="健康状况",
    responses={503: {"model": Health, "description": "down：商品目录无法服务"}},
)
async def health(service: Running, response: Response) -> Health:
    """`down`（503）：目录无法服务。

    `degraded`：搜索不可用或只能找到一部分，有商品未能建立索引，或两个存储不一致。
    """
    answer = await anyio.to_thread.run_sync(_health, service, limiter=service.health_threads)
    if answer.status == "down":
        response.status_code = 503
    return answer


def _health(service: Service) -> Health:
    resources = service.resources
    database, waiting, drift_run, is_filling = _database_state(resources)
    vector_store = _vector_store_state(service, is_filling=is_filling)
    indexing = "down" if waiting.failed or resources.indexing_loop.is_failing else "ok"
    stores = "down" if drift_run is not None and _impairs_answers(drift_run) else "ok"
    kafka = _kafka_state(resources)
    states = (vector_store, indexing, stores, kafka)
    is_impaired = is_filling or "down" in states
    status = "down" if database == "down" else "degraded" if is_impaired else "ok"
    encoders = resources.encoders
    return Health.model_validate(
        {
            "status": status,
            "database": database,
            "vector_store": vector_store,
            "kafka": kafka,
            "encoders": EncoderInfo(
                name=encoders.name,
                fingerprint=encoders.fingerprint,
                device=encoders.device,
                hint=resources.encoder_hint(encoders),
            ),
            "outbox": waiting,
            "drift": drift_run and DriftTotal(total=drift_run.left, at=drift_run.finished_at),
        }
    )


def _impairs_answers(run: DriftRun) -> bool:
    """Return whether drift impairs answers; an image that nobody names does not."""
    return run.left > run.left_of(DriftKind.orphaned_picture)


class _Database(NamedTuple):
    """What health needs of the relational store."""

    state: str
    waiting: OutboxCounts
    drift_run: DriftRun | None
    is_filling: bool  # the active collection


def _database_state(resources: Resources) -> _Database:
    read = resources.database.read
    try:
        resources.database.ping()
        waiting, drift_run = read(counts.fetch_counts), read(reports.fetch_last)
        return _Database("ok", waiting, drift_run, read(counts.is_rebuilding))
    except DatabaseUnavailable:
        return _Database("down", OutboxCounts(pending=0, retrying=0, failed=0), None, False)


def _vector_store_state(service: Service, *, is_filling: bool) -> str:
    if not service.vector_store_pulse.is_felt(lambda: service.resources.entities.ping()):
        return "down"
    return "filling" if is_filling else "ok"


def _kafka_state(resources: Resources) -> str | None:
    """Return how the last publication went; None where no Kafka is used."""
    if resources.relay_loop is None:
        return None
    return "down" if resources.relay_loop.is_failing else "ok"
