"""The state of the service over HTTP: drift and its repair, runs, metrics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from data_models import (
    Caller,
    ChangesPage,
    ChangesQuery,
    DoctorRun,
    DriftReport,
    PageQuery,
    RunsPage,
)
from product_search import errors
from product_search.api import metrics
from product_search.api.dependencies import Database, Runs
from product_search.api.errors import QUEUE_ERRORS, documented
from product_search.changes import listing as changes
from product_search.context import current_principal
from product_search.drift import reports
from product_search.runs import listing
from product_search.telemetry import MEDIA_TYPE, expose

router = APIRouter(tags=["系统"])

_QUEUE_ERRORS = documented(*QUEUE_ERRORS)


@router.get(
    "/system/drift",
    summary="两个存储是否一致",
    responses=documented(errors.DatabaseUnavailable),
)
def get_drift(database: Database) -> DriftReport:
    """最近一次完成的核对找到了什么、修复了什么，以及最新一次核对的状态。"""
    return database.read(reports.fetch_report)


@router.post("/system/drift", status_code=202, summary="核对两个存储", responses=_QUEUE_ERRORS)
def check_drift(database: Database, runs: Runs) -> DoctorRun:
    """排队一次核对，不修复；结果见 `GET /system/drift`。"""
    run = reports.enqueue(database, reports.DriftOptions())
    runs.wake()
    return run


@router.post("/system/repair", status_code=202, summary="核对并修复", responses=_QUEUE_ERRORS)
def repair_drift(database: Database, runs: Runs) -> DoctorRun:
    """排队一次核对，并经由 outbox 修复找到的不一致；结果见 `GET /system/drift`。"""
    run = reports.enqueue(database, reports.DriftOptions(repair=True))
    runs.wake()
    return run


@router.get(
    "/system/runs",
    summary="后台运行",
    responses=documented(errors.InvalidRequest, errors.DatabaseUnavailable),
)
def get_runs(query: Annotated[PageQuery, Query()], database: Database) -> RunsPage:
    """导入、换编码器、核对、查重、图文核查、目录图：排队的、进行中的和已结束的，新的在前。"""
    return database.read(listing.list_runs, query)


@router.get("/system/me", summary="我是谁")
async def get_caller() -> Caller:
    """服务把这个请求当作谁的：所用密钥的名字与权限。"""
    principal = current_principal.get()
    return Caller(name=principal.name, scope=principal.scope, key_id=principal.key_id)


@router.get(
    "/system/changes",
    summary="改动记录",
    responses=documented(errors.InvalidRequest, errors.DatabaseUnavailable),
)
def get_changes(query: Annotated[ChangesQuery, Query()], database: Database) -> ChangesPage:
    """谁在什么时候改了什么，新的在前：单个商品的新增、修改与删除，以及导入、修复、换编码器、
    图片生成和密钥。与改动写在同一个事务里；一次导入的开始与结束各一条，不是每行一条。
    """
    return database.read(changes.list_changes, query)


@router.get(
    "/metrics",
    summary="Prometheus 指标",
    response_class=Response,
    responses=documented(errors.DatabaseUnavailable)
    | {200: {"content": {"text/plain": {}}, "description": "Prometheus 文本格式"}},
)
def get_metrics(database: Database) -> Response:
    """请求与延迟（按路由、方法、状态）、搜索各阶段、批次与队列、缓存命中；待建索引的改动、
    后台运行，以及最近一次核对剩下的不一致（按种类）。多进程时是各进程之和。
    """
    return Response(expose(metrics.read_gauges(database)), media_type=MEDIA_TYPE)
