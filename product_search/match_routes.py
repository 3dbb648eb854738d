"""What else the vectors of products are good for, over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from data_models import RerankRequest, RerankResponse
from product_search import reranking
from product_search.http_bodies import documented_body, picture, read_body
from product_search.http_errors import BODY_ERRORS, PICTURE_ERRORS, STORE_ERRORS, documented
from product_search.resources import Resources

router = APIRouter(tags=["搜索"])


@router.post(
    "/rerank",
    summary="给商品排序",
    responses=documented(*BODY_ERRORS, *PICTURE_ERRORS, *STORE_ERRORS),
    openapi_extra=documented_body(RerankRequest),
)
async def rerank(request: Request) -> RerankResponse:
    """给出的商品按与文字、图片的符合程度排序，用的是已存的向量；请求体为 JSON 或 multipart。"""
    raw = await read_body(request)
    resources: Resources = request.app.state.resources

    def answer() -> RerankResponse:
        body = raw.checked(RerankRequest)
        return reranking.rerank(resources.retrieval, body.model, picture(body))

    return await run_in_threadpool(answer)
