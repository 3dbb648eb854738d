"""Duplicates over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from data_models import DuplicateRun, DuplicatesPage, DuplicatesQuery
from product_search import duplicates, errors
from product_search.http_errors import documented
from product_search.resources import Resources

PATH = "/product/duplicates"

router = APIRouter(tags=["商品"])


@router.get(
    PATH,
    summary="重复的商品",
    responses=documented(errors.InvalidRequest, errors.DatabaseUnavailable),
)
def get_duplicates(request: Request, query: Annotated[DuplicatesQuery, Query()]) -> DuplicatesPage:
    """最近一次完成的查重找到的各组商品，一页；和最新一次查重的状态。"""
    resources: Resources = request.app.state.resources
    return resources.database.read(lambda session: duplicates.page(session, query))


@router.post(
    PATH,
    status_code=202,
    summary="查重",
    responses=documented(errors.RunInProgress, errors.DatabaseUnavailable, errors.OutcomeUnknown),
)
def find_duplicates(request: Request) -> DuplicateRun:
    """排队一次查重：图片与标题都相近的商品；结果见 `GET /product/duplicates`。"""
    resources: Resources = request.app.state.resources
    run = duplicates.queue(resources.database)
    resources.run_loop.wake()
    return run
