"""Insights over HTTP: duplicates, audits and maps of the whole catalog."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from data_models import (
    AuditPage,
    AuditQuery,
    AuditRun,
    CatalogMap,
    DuplicateRun,
    DuplicatesPage,
    DuplicatesQuery,
    MapComputing,
    MapQuery,
)
from product_search import errors
from product_search.api.dependencies import Database, Maps, Running, Runs
from product_search.api.errors import QUEUE_ERRORS, documented
from product_search.insights import audit, duplicates

DUPLICATES_PATH = "/product/duplicates"
AUDIT_PATH = "/product/audit"

router = APIRouter(tags=["商品"])

_PAGE_ERRORS = documented(errors.InvalidRequest, errors.DatabaseUnavailable)
_QUEUE_ERRORS = documented(*QUEUE_ERRORS)


@router.get(DUPLICATES_PATH, summary="重复的商品", responses=_PAGE_ERRORS)
def get_duplicates(
    query: Annotated[DuplicatesQuery, Query()], database: Database
) -> DuplicatesPage:
    """最近一次完成的查重找到的各组商品，一页；和最新一次查重的状态。"""
    return database.read(duplicates.fetch_page, query)


@router.post(DUPLICATES_PATH, status_code=202, summary="查重", responses=_QUEUE_ERRORS)
def find_duplicates(database: Database, runs: Runs) -> DuplicateRun:
    """排队一次查重：图片与标题都相近的商品；结果见 `GET /product/duplicates`。"""
    run = duplicates.enqueue(database)
    runs.wake()
    return run


@router.get(AUDIT_PATH, summary="图文不符的商品", responses=_PAGE_ERRORS)
def get_audit(query: Annotated[AuditQuery, Query()], service: Running) -> AuditPage:
    """最近一次完成的核查：图片与标题最不相符的在前，一页；和最新一次核查的状态。"""
    resources = service.resources
    return resources.database.read(audit.fetch_page, query, resources.catalog.addresses)


@router.post(AUDIT_PATH, status_code=202, summary="核查图文", responses=_QUEUE_ERRORS)
def start_audit(database: Database, runs: Runs) -> AuditRun:
    """排队一次核查：用已存的向量比较每个商品的图片与标题；结果见 `GET /product/audit`。"""
    run = audit.enqueue(database)
    runs.wake()
    return run


@router.get(
    "/product/map",
    summary="目录图",
    responses=documented(
        errors.InvalidRequest,
        errors.DatabaseUnavailable,
        errors.DatabaseNotWritable,
        errors.OutcomeUnknown,
    )
    | {202: {"model": MapComputing, "description": "第一张还在计算：稍后再问"}},
)
def get_map(
    query: Annotated[MapQuery, Query()], maps: Maps, response: Response
) -> CatalogMap | MapComputing:
    """各商品在平面上的位置：某种向量的主成分（PCA），相近的商品相邻。

    在后台计算，商品不变就不再算；变了以后先给出旧的（`stale`），同时计算新的。
    """
    found = maps.get(query.field)
    if isinstance(found, MapComputing):
        response.status_code = 202
    return found
