"""The state of the stores over HTTP: drift, its repair, and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from data_models import DoctorRun, DriftReport
from product_search import drift, errors, metrics, outbox_state
from product_search.http_errors import QUEUE_ERRORS, documented
from product_search.resources import Resources

router = APIRouter(tags=["系统"])

_QUEUE_ERRORS = documented(*QUEUE_ERRORS)


@router.get(
    "/system/drift",
    summary="两个存储是否一致",
    responses=documented(errors.DatabaseUnavailable),
)
def get_drift(request: Request) -> DriftReport:
    """最近一次完成的核对找到了什么、修复了什么，以及最新一次核对的状态。"""
    resources: Resources = request.app.state.resources
    return resources.database.read(drift.report)


@router.post("/system/drift", status_code=202, summary="核对两个存储", responses=_QUEUE_ERRORS)
def check_drift(request: Request) -> DoctorRun:
    """排队一次核对，不修复；结果见 `GET /system/drift`。"""
    return _queued(request, drift.Options())


@router.post("/system/repair", status_code=202, summary="核对并修复", responses=_QUEUE_ERRORS)
def repair_drift(request: Request) -> DoctorRun:
    """排队一次核对，并经由 outbox 修复找到的不一致；结果见 `GET /system/drift`。"""
    return _queued(request, drift.Options(repair=True))


def _queued(request: Request, options: drift.Options) -> DoctorRun:
    resources: Resources = request.app.state.resources
    run = drift.queue(resources.database, options)
    resources.run_loop.wake()
    return run


@router.get(
    "/metrics",
    summary="Prometheus 指标",
    response_class=Response,
    responses=documented(errors.DatabaseUnavailable)
    | {200: {"content": {"text/plain": {}}, "description": "Prometheus 文本格式"}},
)
def get_metrics(request: Request) -> Response:
    """待建索引的改动，以及最近一次核对剩下的不一致（按种类）。"""
    resources: Resources = request.app.state.resources
    database = resources.database
    text = resources.metrics.read(database.read(outbox_state.counts), database.read(drift.last))
    return Response(text, media_type=metrics.MEDIA_TYPE)
