"""Search over HTTP: one query, and many at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query

from data_models import (
    MAX_BATCH_IMAGES,
    MAX_BATCH_TEXT,
    BatchRequest,
    BatchResponse,
    SearchRequest,
    SearchResponse,
    SuggestQuery,
    SuggestResponse,
)
from product_search import errors
from product_search.api.bodies import Body, json_body, json_or_form, validated
from product_search.api.dependencies import Running
from product_search.api.errors import BODY_ERRORS, IMAGE_ERRORS, SEARCH_ERRORS, documented
from product_search.bootstrap.assemble import Resources
from product_search.errors import AppError, InvalidRequest, PayloadTooLarge
from product_search.schemas import examples
from product_search.search.search import SearchService

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

    只给文字时是 hybrid：按词（BM25）、按意思（BGE）、按图片（CLIP）同时找，合成一个次序。
    文字里的价格（300元以内）成为筛选，`interpreted` 说明哪些词被当作了什么，`understand` 可以关闭；
    只有价格的词时列出这个价位的商品。价格与 `filters` 矛盾时 `hits` 为空，`warnings` 会说明。
    `confidence` 是符合查询的概率；没有商品达到 `min_confidence` 时 `no_match` 为 true，
    `near_misses` 里是最接近的几个。用 `next_cursor` 翻页，期间的增删不会造成重复或遗漏。
    """
    return await body.apply(partial(_search, service.resources), service.search_threads)


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
async def search_batch(body: BatchBody, service: Running) -> BatchResponse:
    """1 到 64 个查询，一起编码；`results` 与查询一一对应，一个有误不影响其他。

    一批里图片或文字过多时，放不下的查询得到 `payload_too_large`，其他照常回答。
    """
    return await body.apply(partial(_search_batch, service.search), service.search_threads)


def _search(resources: Resources, request: SearchRequest) -> SearchResponse:
    response = resources.search.search(request)
    resources.suggester.popular.note(request, response)
    return response


def _search_batch(service: SearchService, batch: BatchRequest) -> BatchResponse:
    requests = list(_bounded(_query(value) for value in batch.queries))
    valid = [request for request in requests if not isinstance(request, AppError)]
    answers = iter(service.search_batch(valid))
    results = [one if isinstance(one, AppError) else next(answers) for one in requests]
    return BatchResponse(
        results=[one.body() if isinstance(one, AppError) else one for one in results]
    )


def _query(value: object) -> SearchRequest | InvalidRequest:
    """Return the query as a request, or what is wrong with it."""
    try:
        return validated(SearchRequest, value)
    except InvalidRequest as error:
        return error


def _bounded(requests: Iterable[SearchRequest | AppError]) -> Iterator[SearchRequest | AppError]:
    """Yield the requests for which there is room beside those before them, and errors for the rest.

    All images of a batch are in memory at the same time, and all its texts are encoded before
    any of its queries is answered.
    """
    images = characters = 0
    for request in requests:
        if isinstance(request, AppError):
            yield request
        elif images + request.image_count > MAX_BATCH_IMAGES:
            yield _too_much(f"{MAX_BATCH_IMAGES} 张图片")
        elif characters + request.text_length > MAX_BATCH_TEXT:
            yield _too_much(f"{MAX_BATCH_TEXT} 个字符")
        else:
            images += request.image_count
            characters += request.text_length
            yield request


def _too_much(most: str) -> PayloadTooLarge:
    return PayloadTooLarge(f"一批最多 {most}：请把这个查询放到下一批")
