"""Search over HTTP: one query, and many at once."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request

from data_models import (
    BatchRequest,
    BatchResponse,
    SearchRequest,
    SearchResponse,
    SuggestQuery,
    SuggestResponse,
)
from product_search import errors
from product_search.access.scopes import require_scope
from product_search.api.bodies import Body, json_body, json_or_form
from product_search.api.dependencies import Running
from product_search.api.errors import BODY_ERRORS, IMAGE_ERRORS, SEARCH_ERRORS, documented
from product_search.bootstrap.assemble import Resources
from product_search.context import Principal, current_principal
from product_search.schemas import examples

router = APIRouter(tags=["搜索"])

SearchBody = Annotated[Body[SearchRequest], json_or_form(SearchRequest, examples.SEARCH_FORM)]
BatchBody = Annotated[Body[BatchRequest], json_body(BatchRequest)]


@router.post(
    "/search",
    summary="搜索商品",
    responses=documented(
        errors.ProductNotFound,
        errors.ImageNotFound,
        errors.ProductWithoutImage,
        errors.RegionOutsideImage,
        errors.GenerationNotFound,
        errors.CursorInvalid,
        errors.CursorStale,
        errors.NotCalibrated,
        *BODY_ERRORS,
        *IMAGE_ERRORS,
        *SEARCH_ERRORS,
    ),
)
async def search(body: SearchBody, service: Running) -> SearchResponse:
    """按文字、图片、商品或它们的组合搜索；请求体为 JSON 或 multipart（文件 `image`）。
    图片也可以是公网上的地址（`image_url`），由服务去取，须由管理员开启。

    只给文字时是 hybrid：按词（BM25）、按意思（BGE）、按图片（CLIP）同时找，合成一个次序。
    文字里的价格（300元以内）成为筛选，`interpreted` 说明哪些词被当作了什么，`understand` 可以关闭；
    只有价格的词时列出这个价位的商品。价格与 `filters` 矛盾时 `hits` 为空，`warnings` 会说明。
    `confidence` 是符合查询的概率；没有商品达到 `min_confidence` 时 `no_match` 为 true，
    `near_misses` 里是最接近的几个。用 `next_cursor` 翻页，期间的增删不会造成重复或遗漏。
    """
    return await body.apply(
        partial(_search, service.resources, current_principal.get()),
        service.search_threads,
        service.picture_threads,
        service.fetcher,
    )


@router.get("/suggest", summary="输入时的建议", responses=documented(errors.InvalidRequest))
async def suggest(query: Annotated[SuggestQuery, Query()], service: Running) -> SuggestResponse:
    """补全正在输入的文字，好的在前：按开头、拼音（可不完整，lany → 蓝牙耳机）或首字母（lyej）。

    来自类目、品牌、商品标题里完整的词与短语，以及近 30 天里多次有结果的查询；都在内存里，
    商品改动后片刻（十万件商品时几分钟内）跟上。
    """
    # In memory, and quicker than any thread would begin it: it waits behind no search.
    return service.resources.suggester.suggest(query)


@router.post(
    "/search/batch",
    summary="一次搜索多个查询",
    responses=documented(*BODY_ERRORS, *SEARCH_ERRORS),
)
async def search_batch(body: BatchBody, request: Request, service: Running) -> BatchResponse:
    """1 到 64 个查询，几个一组依次回答，单个的搜索优先；`results` 与查询一一对应。

    一个查询有误不影响其他；图片或文字过多时，放不下的查询得到 `payload_too_large`。
    """
    return await service.batch_threads.answer(body, request, service.search, service.fetcher)


def _search(resources: Resources, principal: Principal, request: SearchRequest) -> SearchResponse:
    """Search. Raises Forbidden for a picture that the caller may not see."""
    if request.generation or any(part.generation for part in request.parts or ()):
        require_scope(principal, "get_generated_image", origin=None)
    response = resources.search.search(request)
    resources.suggester.popular.note(request, response)
    return response
