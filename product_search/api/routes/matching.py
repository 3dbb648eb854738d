"""The routes beside search: rerank, match, similar products, titles for an image."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request

from data_models import (
    MatchRequest,
    MatchResponse,
    ProductId,
    RerankRequest,
    RerankResponse,
    SearchResponse,
    SimilarQuery,
    TitlesRequest,
    TitlesResponse,
)
from product_search import errors
from product_search.api.bodies import Body, json_body, json_or_form
from product_search.api.dependencies import Running
from product_search.api.errors import BODY_ERRORS, IMAGE_ERRORS, SEARCH_ERRORS, documented
from product_search.batching import background
from product_search.schemas import examples
from product_search.search.match import match_pairs
from product_search.search.rerank import rerank_products
from product_search.search.search import SearchService
from product_search.search.titles import suggest_titles

router = APIRouter(tags=["搜索"])

RerankBody = Annotated[Body[RerankRequest], json_or_form(RerankRequest, examples.RERANK_FORM)]
MatchBody = Annotated[Body[MatchRequest], json_body(MatchRequest)]
TitlesBody = Annotated[Body[TitlesRequest], json_or_form(TitlesRequest, examples.TITLES_FORM)]


@router.post(
    "/rerank",
    summary="给商品排序",
    responses=documented(*BODY_ERRORS, *IMAGE_ERRORS, *SEARCH_ERRORS),
)
async def rerank(body: RerankBody, service: Running) -> RerankResponse:
    """给出的商品按与文字、图片的符合程度排序，用的是已存的向量；请求体为 JSON 或 multipart。"""
    return await body.apply(
        partial(rerank_products, service.search),
        service.search_threads,
        service.picture_threads,
        service.fetcher,
    )


@router.post(
    "/match",
    summary="图文是否相符",
    responses=documented(
        errors.ProductNotFound,
        errors.ImageNotFound,
        errors.ProductWithoutImage,
        *BODY_ERRORS,
        *IMAGE_ERRORS,
        *SEARCH_ERRORS,
    ),
)
async def match(body: MatchBody, service: Running) -> MatchResponse:
    """一张图片与 1–64 个标题，或一个标题与 1–64 张图片：每一对的分数、置信度与结论。"""
    return await body.apply(
        partial(_match, service.search), service.match_threads, fetcher=service.fetcher
    )


@router.get(
    "/product/{product_id}/similar",
    summary="相似的商品",
    responses=documented(
        errors.ProductNotFound,
        errors.ProductNotIndexed,
        errors.NotCalibrated,
        errors.ProductWithoutImage,
        errors.InvalidRequest,
        *SEARCH_ERRORS,
    ),
)
async def get_similar(
    request: Request,
    product_id: ProductId,
    query: Annotated[SimilarQuery, Query()],
    service: Running,
) -> SearchResponse:
    """图片、标题或两者都与该商品相近的商品，不含它自己；用的是已存的向量，可加条件。"""
    return await service.search_threads.run(request, service.search.similar, product_id, query)


@router.post(
    "/product/titles",
    summary="为图片找标题",
    responses=documented(
        errors.ProductNotFound,
        errors.ImageNotFound,
        errors.ProductWithoutImage,
        *BODY_ERRORS,
        *IMAGE_ERRORS,
        *SEARCH_ERRORS,
    ),
)
async def find_titles(body: TitlesBody, service: Running) -> TitlesResponse:
    """与图片最相近的已有标题，以及由它们一致之处拼成的建议；请求体为 JSON 或 multipart。"""
    return await body.apply(
        partial(suggest_titles, service.search), service.picture_threads, fetcher=service.fetcher
    )


def _match(search: SearchService, request: MatchRequest) -> MatchResponse:
    with background():  # up to 64 images or texts: searches for one come first
        return match_pairs(search, request)
