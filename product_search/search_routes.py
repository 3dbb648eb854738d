"""Search over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from data_models import SearchRequest, SearchResponse
from product_search import errors
from product_search.http_bodies import Body, documented_body, read_body
from product_search.http_errors import documented
from product_search.images import from_base64
from product_search.resources import Resources

router = APIRouter(tags=["搜索"])


@router.post(
    "/search",
    summary="搜索商品",
    responses=documented(
        errors.ProductNotFound,
        errors.ImageNotFound,
        errors.InvalidRequest,
        errors.InvalidJson,
        errors.InvalidImage,
        errors.ImageTooManyPixels,
        errors.ProductWithoutImage,
        errors.RegionOutsideImage,
        errors.CursorInvalid,
        errors.CursorStale,
        errors.NotCalibrated,
        errors.UnsupportedMediaType,
        errors.PayloadTooLarge,
        errors.ImageTooLarge,
        errors.DatabaseUnavailable,
        errors.VectorStoreUnavailable,
    ),
    openapi_extra=documented_body(SearchRequest),
)
async def search(request: Request) -> SearchResponse:
    """按文字、图片、商品或它们的组合搜索；请求体为 JSON 或 multipart（文件 `image`）。

    只给文字时是 hybrid：按词（BM25）、按意思（BGE）、按图片（CLIP）同时找，合成一个次序。
    `confidence` 是符合查询的概率；没有商品达到 `min_confidence` 时 `no_match` 为 true，
    `near_misses` 里是最接近的几个。用 `next_cursor` 翻页，期间的增删不会造成重复或遗漏。
    """
    raw = await read_body(request)
    resources: Resources = request.app.state.resources

    def answer() -> SearchResponse:
        body = raw.checked(SearchRequest)
        return resources.retrieval.search(body.model, lambda: _picture(body))

    return await run_in_threadpool(answer)


def _picture(body: Body[SearchRequest]) -> bytes | None:
    if body.upload is not None:
        return body.upload
    text = body.model.image_base64
    return None if text is None else from_base64(text)
