"""The catalog over HTTP."""

from __future__ import annotations

from typing import Annotated

import anyio
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from data_models import (
    IndexStatus,
    PictureOfGeneration,
    ProductCreate,
    ProductCreated,
    ProductId,
    ProductListQuery,
    ProductOut,
    ProductPage,
    ProductPatch,
)
from product_search import errors
from product_search.api import images
from product_search.api.bodies import Body, documented_body, read_body
from product_search.api.errors import documented
from product_search.bootstrap.assemble import Resources
from product_search.catalog.products import KEEP_IMAGE, Image
from product_search.images.decoding import from_base64

router = APIRouter(tags=["商品"])

_POLL_S = 0.02
_IMAGES = {"image_base64", "generation"}
_BODY_ERRORS = (
    errors.InvalidRequest,
    errors.InvalidJson,
    errors.InvalidImage,
    errors.GenerationNotFound,
    errors.ImageNotFound,
    errors.ImageTooManyPixels,
    errors.UnsupportedMediaType,
    errors.PayloadTooLarge,
    errors.ImageTooLarge,
    errors.DuplicateSku,
    errors.OutboxFull,
    errors.DatabaseUnavailable,
    errors.OutcomeUnknown,
    errors.StorageUnavailable,
)
Wait = Annotated[bool, Query(description="true：等到改动可被搜索后再回答（最长 30 秒）")]


@router.post(
    "/product",
    status_code=201,
    summary="新增商品",
    responses=documented(*_BODY_ERRORS),
    openapi_extra=documented_body(ProductCreate),
)
async def create_product(request: Request, wait: Wait = False) -> ProductCreated:
    """新增一个商品；请求体为 JSON（`image_base64`）或 multipart（文件 `image`）；
    也可用生成的图片（`generation`），商品会标明 `image_generated`。

    目录里已有的相同商品列在 `duplicates`，不妨碍新增。
    """
    raw = await read_body(request)
    resources: Resources = request.app.state.resources

    def create(body: Body[ProductCreate]) -> ProductCreated:
        fields = body.model.model_dump(exclude=_IMAGES)
        image = _image(body)
        given = image if isinstance(image, bytes | PictureOfGeneration) else None
        return resources.catalog.create(fields, given)

    product = await raw.answered(ProductCreate, create)
    if not wait:
        return product
    settled = await _settled(resources, product)
    return ProductCreated(**dict(settled) | {"duplicates": product.duplicates})


@router.get(
    "/product/list",
    summary="商品列表",
    responses=documented(errors.InvalidRequest, errors.DatabaseUnavailable),
)
def list_products(request: Request, query: Annotated[ProductListQuery, Query()]) -> ProductPage:
    """按条件分页列出商品；用 `after_id` 可走遍整个目录。"""
    resources: Resources = request.app.state.resources
    return resources.catalog.list(query)


@router.get(
    "/product/{product_id}",
    summary="查看商品",
    responses=documented(errors.ProductNotFound, errors.InvalidRequest, errors.DatabaseUnavailable),
)
def get_product(request: Request, product_id: ProductId) -> ProductOut:
    """一个商品。"""
    resources: Resources = request.app.state.resources
    return resources.catalog.get(product_id)


@router.patch(
    "/product/{product_id}",
    summary="修改商品",
    responses=documented(errors.ProductNotFound, *_BODY_ERRORS),
    openapi_extra=documented_body(ProductPatch),
)
async def update_product(request: Request, product_id: ProductId, wait: Wait = False) -> ProductOut:
    """只改给出的字段；`null` 清空，`image_base64: null` 删除图片，文件 `image` 替换图片。"""
    raw = await read_body(request)
    resources: Resources = request.app.state.resources

    def update(body: Body[ProductPatch]) -> ProductOut:
        changes = body.model.model_dump(exclude=_IMAGES, exclude_unset=True)
        if changes.get("attributes", ...) is None:
            changes["attributes"] = {}
        return resources.catalog.update(product_id, changes, _image(body))

    product = await raw.answered(ProductPatch, update)
    return await _settled(resources, product) if wait else product


@router.delete(
    "/product/{product_id}",
    status_code=204,
    summary="删除商品",
    responses=documented(
        errors.ProductNotFound,
        errors.InvalidRequest,
        errors.OutboxFull,
        errors.DatabaseUnavailable,
        errors.OutcomeUnknown,
    ),
)
def delete_product(request: Request, product_id: ProductId) -> None:
    """删除商品；它立刻不再出现在任何回答里。"""
    resources: Resources = request.app.state.resources
    resources.catalog.delete(product_id)


@router.get(
    "/product/{product_id}/image",
    summary="商品图片",
    response_class=Response,
    responses=documented(
        errors.ProductNotFound,
        errors.ImageNotFound,
        errors.InvalidRequest,
        errors.DatabaseUnavailable,
        errors.StorageUnavailable,
    )
    | images.RESPONSES,
)
def get_image(
    request: Request,
    product_id: ProductId,
    size: images.Size = None,
) -> Response:
    """商品图片的原文件，或缩略图。带 ETag，可用 If-None-Match 重新验证。"""
    resources: Resources = request.app.state.resources
    picture = resources.catalog.image(product_id, int(size) if size else None)
    return images.answer(request, picture)


def _image(body: Body[ProductCreate] | Body[ProductPatch]) -> Image:
    """The image that the body brings, None to remove it, or KEEP_IMAGE."""
    if body.upload is not None:
        return body.upload
    if body.model.generation is not None:
        return body.model.generation
    if "image_base64" not in body.model.model_fields_set:
        return KEEP_IMAGE
    text = body.model.image_base64
    return None if text is None else from_base64(text)


async def _settled(resources: Resources, product: ProductOut) -> ProductOut:
    """The product once its indexing has ended, or as it is when the wait has.

    The row is polled, since the indexing may be another process's.
    """
    current = product
    with anyio.move_on_after(resources.settings.wait_timeout_s):
        while current.index_status is IndexStatus.pending:
            await anyio.sleep(_POLL_S)
            try:
                current = await run_in_threadpool(resources.catalog.get, product.product_id)
            except (errors.ProductNotFound, errors.DatabaseUnavailable):
                break  # deleted meanwhile, or out of sight: the write did happen
    return current
