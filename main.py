"""HTTP door: `fastapi run main.py`; the application is `main:app`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import anyio
import anyio.to_thread
from fastapi import FastAPI, Request, Response

from data_models import DriftKind, DriftRun, DriftTotal, EncoderInfo, Health, OutboxCounts
from product_search.api import bodies, errors
from product_search.api.metrics import Metrics
from product_search.api.routes import (
    generation,
    imports,
    insights,
    matching,
    products,
    search,
    system,
)
from product_search.bootstrap import logs
from product_search.bootstrap.assemble import Resources, open_resources
from product_search.drift import reports
from product_search.errors import AppError, DatabaseUnavailable, StartError, VectorStoreUnavailable
from product_search.outbox import counts as outbox_state
from product_search.settings import Settings, load_settings

VERSION = "0.1.0"
DESCRIPTION = f"""
商品目录与四种搜索：以文搜文、以文搜图、以图搜图、以图搜文。

出错时的回答都是 `{{code, message, fields?}}`；`code` 是稳定的，可据以编程：

{errors.code_table()}
"""

# In the order of the documentation; /product/import is no /product/{product_id}.
_ROUTES = (
    imports,
    insights,
    products,
    search,
    matching,
    generation,
    system,
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; stores and models are opened when it starts, not here."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        logs.configure("service")
        try:
            chosen = settings or load_settings()
            with open_resources(chosen, chosen.api_url, is_service=True) as resources:
                app.state.resources = resources
                app.state.metrics = Metrics()
                app.state.health_threads = anyio.CapacityLimiter(2)
                resources.imports.clean()
                resources.generations.clean()
                resources.start_runs()
                yield
        except (AppError, StartError):
            sys.tracebacklimit = 0  # the message says what is wrong and what to do
            raise

    app = FastAPI(
        title="商品检索与图文匹配", version=VERSION, description=DESCRIPTION, lifespan=lifespan
    )
    app.add_middleware(bodies.BodyLimit, own_limits={imports.PATH})
    errors.install(app)
    for routes in _ROUTES:
        app.include_router(routes.router)
    app.add_api_route(
        "/health",
        health,
        tags=["系统"],
        summary="健康状况",
        response_model=Health,
        responses={503: {"model": Health, "description": "down：商品目录无法服务"}},
    )
    bodies.describe_bodies(app)
    return app


async def health(request: Request, response: Response) -> Health:
    """`down`（503）：目录无法服务。

    `degraded`：搜索不可用或只能找到一部分，有商品未能建立索引，或两个存储不一致。
    """
    resources: Resources = request.app.state.resources
    # Threads of its own: it answers also while every other one waits for a store.
    limiter = request.app.state.health_threads
    answer = await anyio.to_thread.run_sync(_health, resources, limiter=limiter)
    if answer.status == "down":
        response.status_code = 503
    return answer


def _health(resources: Resources) -> Health:
    database, waiting, walked, is_filling = _database_state(resources)
    vector_store = _vector_store_state(resources, is_filling=is_filling)
    indexing = "down" if waiting.failed or resources.indexing_loop.is_failing else "ok"
    stores = "down" if walked is not None and _harms(walked) else "ok"
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
                hint=resources.encoder_hint,
            ),
            "outbox": waiting,
            "drift": walked and DriftTotal(total=walked.left, at=walked.finished_at),
        }
    )


def _harms(walked: DriftRun) -> bool:
    """Whether answers suffer; from an image that nobody names they don't."""
    return walked.left > walked.left_of(DriftKind.orphaned_picture)


class _Database(NamedTuple):
    """What health needs of the relational store."""

    state: str
    waiting: OutboxCounts
    walked: DriftRun | None
    is_filling: bool  # the active collection


def _database_state(resources: Resources) -> _Database:
    read = resources.database.read
    try:
        resources.database.ping()
        counts, walked = read(outbox_state.fetch_counts), read(reports.fetch_last)
        return _Database("ok", counts, walked, read(outbox_state.is_rebuilding))
    except DatabaseUnavailable:
        return _Database("down", OutboxCounts(pending=0, retrying=0, failed=0), None, False)


def _vector_store_state(resources: Resources, *, is_filling: bool) -> str:
    try:
        resources.entities.ping()
    except VectorStoreUnavailable:
        return "down"
    return "filling" if is_filling else "ok"


def _kafka_state(resources: Resources) -> str | None:
    """As the last publication went; None where no Kafka is used."""
    if resources.relay_loop is None:
        return None
    return "down" if resources.relay_loop.is_failing else "ok"


app = create_app()
