"""Products over HTTP."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import anyio
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from data_models import (
    Flag,
    IndexStatus,
    PictureOfGeneration,
    ProductCreate,
    ProductCreated,
    ProductId,
    ProductListQuery,
    ProductOut,
    ProductPage,
    ProductPatch,
    ProductUpdated,
)
from product_search import errors
from product_search.api import images
from product_search.api.bodies import Body, json_or_form
from product_search.api.dependencies import Catalog, Running, Service
from product_search.api.errors import IMAGE_ERRORS, documented
from product_search.api.threads import PICTURE_PATIENCE_S
from product_search.catalog import products
from product_search.catalog.products import KEEP_IMAGE, Image
from product_search.images.budget import Allowance, allowing
from product_search.images.decoding import from_base64
from product_search.schemas import examples

router = APIRouter(tags=["商品"])

_POLL_S = 0.02
_IMAGES = {"image_base64", "image_url", "generation"}
_BODY_ERRORS: tuple[type[errors.AppError], ...] = (
    errors.InvalidRequest,
    errors.InvalidJson,
    errors.GenerationNotFound,
    errors.ImageNotFound,
    *IMAGE_ERRORS,
    errors.UnsupportedMediaType,
    errors.PayloadTooLarge,
    errors.RequestTimeout,
    errors.Overloaded,
    errors.DuplicateSku,
    errors.OutboxFull,
    errors.DatabaseUnavailable,
    errors.DatabaseNotWritable,
    errors.OutcomeUnknown,
    errors.StorageUnavailable,
)
CreateBody = Annotated[Body[ProductCreate], json_or_form(ProductCreate, examples.PRODUCT_FORM)]
PatchBody = Annotated[Body[ProductPatch], json_or_form(ProductPatch, examples.CHANGE_FORM)]
Wait = Annotated[Flag, Query(description="true：等到改动可被搜索后再回答（最长 30 秒）")]


@router.post(
    "/product",
    status_code=201,
    summary="新增商品",
    responses=documented(*_BODY_ERRORS),
)
async def create_product(body: CreateBody, service: Running, wait: Wait = False) -> ProductCreated:
    """新增一个商品；请求体为 JSON（`image_base64`）或 multipart（文件 `image`）；
    也可给出图片的地址（`image_url`，须由管理员开启），或用生成的图片（`generation`），
    商品会标明 `image_generated`。

    目录里已有的相同商品列在 `duplicates`，不妨碍新增。
    """
    product = await body.apply(
        partial(_create, service.resources.catalog),
        pictures=service.picture_threads,
        fetcher=service.fetcher,
    )
    if not wait:
        return product
    settled = await _settled(service, product)
    told = {"duplicates": product.duplicates, "warnings": product.warnings}
    return ProductCreated(**dict(settled) | told)


@router.get(
    "/product/list",
    summary="商品列表",
    responses=documented(errors.InvalidRequest, errors.DatabaseUnavailable),
)
def list_products(query: Annotated[ProductListQuery, Query()], catalog: Catalog) -> ProductPage:
    """按条件分页列出商品；用 `after_id` 可走遍整个目录。"""
    return catalog.list(query)


@router.get(
    "/product/{product_id}",
    summary="查看商品",
    responses=documented(errors.ProductNotFound, errors.InvalidRequest, errors.DatabaseUnavailable),
)
def get_product(product_id: ProductId, catalog: Catalog) -> ProductOut:
    """一个商品。"""
    return catalog.get(product_id)


@router.patch(
    "/product/{product_id}",
    summary="修改商品",
    responses=documented(errors.ProductNotFound, *_BODY_ERRORS),
)
async def update_product(
    product_id: ProductId, body: PatchBody, service: Running, wait: Wait = False
) -> ProductUpdated:
    """只改给出的字段；`null` 清空，`image_base64: null` 删除图片，
    文件 `image` 或 `image_url` 替换图片。
    """
    product = await body.apply(
        partial(_update, service.resources.catalog, product_id),
        pictures=service.picture_threads,
        fetcher=service.fetcher,
    )
    if not wait:
        return product
    settled = await _settled(service, product)
    return ProductUpdated(**dict(settled) | {"warnings": product.warnings})


@router.delete(
    "/product/{product_id}",
    status_code=204,
    summary="删除商品",
    responses=documented(
        errors.ProductNotFound,
        errors.InvalidRequest,
        errors.OutboxFull,
        errors.DatabaseUnavailable,
        errors.DatabaseNotWritable,
        errors.OutcomeUnknown,
    ),
)
def delete_product(product_id: ProductId, catalog: Catalog) -> None:
    """删除商品；它立刻不再出现在任何回答里。"""
    catalog.delete(product_id)


@router.get(
    "/product/{product_id}/image",
    summary="商品图片",
    response_class=Response,
    responses=documented(
        errors.ProductNotFound,
        errors.ImageNotFound,
        errors.InvalidRequest,
        errors.Overloaded,
        errors.DatabaseUnavailable,
        errors.StorageUnavailable,
    )
    | images.RESPONSES,
)
async def get_image(
    request: Request,
    product_id: ProductId,
    service: Running,
    size: images.Size = None,
) -> Response:
    """商品图片，或缩略图。带 ETag，可用 If-None-Match 重新验证。

    文件里的 EXIF（拍摄地点等）、备注和图片之后的内容都已去掉；JPEG、PNG、WebP、GIF 的像素不变，
    其余格式显示为不超过 1024 像素的 WebP。
    """
    find = partial(service.resources.catalog.image, product_id, int(size) if size else None)
    with allowing(Allowance(PICTURE_PATIENCE_S)):
        picture = await anyio.to_thread.run_sync(find, limiter=service.image_threads)
    return images.answer(request, picture, f"product-{product_id}")


def _create(catalog: products.Catalog, product: ProductCreate) -> ProductCreated:
    image = _image(product)
    given = image if isinstance(image, bytes | PictureOfGeneration) else None
    not_given = {"group"} - product.model_fields_set
    return catalog.create(product.model_dump(exclude=_IMAGES | not_given), given)


def _update(catalog: products.Catalog, product_id: int, patch: ProductPatch) -> ProductUpdated:
    changes = patch.model_dump(exclude=_IMAGES, exclude_unset=True)
    if changes.get("attributes", ...) is None:
        changes["attributes"] = {}
    return catalog.update(product_id, changes, _image(patch))


def _image(body: ProductCreate | ProductPatch) -> Image:
    """Return the image that the body brings, None to remove it, or KEEP_IMAGE."""
    if body.image is not None:
        return body.image
    if body.generation is not None:
        return body.generation
    if "image_base64" not in body.model_fields_set:
        return KEEP_IMAGE
    return None if body.image_base64 is None else from_base64(body.image_base64)


async def _settled(service: Service, product: ProductOut) -> ProductOut:
    """Return the product once its indexing has ended, or as it is when the wait has.

    The row is polled, since the indexing may be another process's.
    """
    resources, current = service.resources, product
    with anyio.move_on_after(resources.settings.wait_timeout_s):
        while current.index_status is IndexStatus.pending:
            await anyio.sleep(_POLL_S)
            try:
                current = await run_in_threadpool(resources.catalog.get, product.product_id)
            except (errors.ProductNotFound, errors.DatabaseUnavailable):
                break  # deleted meanwhile, or out of sight: the write did happen
    return current
