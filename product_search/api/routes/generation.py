"""Image generation over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from data_models import (
    MAX_GENERATED,
    GenerationAccepted,
    GenerationOut,
    GenerationPage,
    GenerationQuery,
    GenerationRequest,
    PictureOfGeneration,
    ProductId,
    Whole,
)
from product_search import errors
from product_search.api import images
from product_search.api.bodies import Body, json_body
from product_search.api.dependencies import Generations, Runs
from product_search.api.errors import BODY_ERRORS, documented
from product_search.generation.generations import PATH

router = APIRouter(tags=["图片生成"])

GenerationBody = Annotated[Body[GenerationRequest], json_body(GenerationRequest)]

_ONE = (errors.GenerationNotFound, errors.InvalidRequest, errors.DatabaseUnavailable)


@router.post(
    PATH,
    status_code=202,
    summary="生成图片",
    responses=documented(
        errors.ProductNotFound,
        errors.GenerationModelMissing,
        errors.QueueFull,
        errors.DatabaseNotWritable,
        errors.OutcomeUnknown,
        errors.DatabaseUnavailable,
        *BODY_ERRORS,
    ),
)
async def generate(
    body: GenerationBody, generations: Generations, runs: Runs
) -> GenerationAccepted:
    """按文字、商品或两者生成 1–4 张图片，在后台进行，一次一个；进度见 `GET /generate/{id}`。

    图片的文件里写明由模型生成；同样的设置（含 seed）得到同样的图片。
    """
    accepted = await body.apply(generations.enqueue)
    runs.wake()
    return accepted


@router.get(
    PATH,
    summary="图片生成的列表",
    responses=documented(errors.InvalidRequest, errors.DatabaseUnavailable),
)
def list_generations(
    query: Annotated[GenerationQuery, Query()], generations: Generations
) -> GenerationPage:
    """各次生成，新的在前，一页。"""
    return generations.list(query)


@router.get(f"{PATH}/{{generation_id}}", summary="一次图片生成", responses=documented(*_ONE))
def get_generation(generation_id: ProductId, generations: Generations) -> GenerationOut:
    """状态、按步的进度，和完成后的图片：与文字最相符的在前。"""
    return generations.get(generation_id)


@router.delete(
    f"{PATH}/{{generation_id}}",
    status_code=204,
    summary="取消图片生成",
    responses=documented(
        errors.GenerationFinished, errors.DatabaseNotWritable, errors.OutcomeUnknown, *_ONE
    ),
)
def cancel_generation(generation_id: ProductId, generations: Generations) -> None:
    """取消：排队的立刻取消，进行中的在当前一步之后停下。"""
    generations.cancel(generation_id)


@router.get(
    f"{PATH}/{{generation_id}}/image/{{number}}",
    summary="生成的图片",
    response_class=Response,
    responses=documented(errors.ImageNotFound, errors.StorageUnavailable, *_ONE) | images.RESPONSES,
)
def get_generated_image(
    request: Request,
    generation_id: ProductId,
    number: Annotated[Whole, Path(ge=1, le=MAX_GENERATED)],
    generations: Generations,
    size: images.Size = None,
) -> Response:
    """生成的图片（PNG），或缩略图。带 ETag，可用 If-None-Match 重新验证。"""
    wanted = PictureOfGeneration(generation_id=generation_id, number=number)
    picture = generations.get_image(wanted, int(size) if size else None)
    return images.answer(request, picture, f"generation-{generation_id}-{number}")


@router.get(
    f"{PATH}/{{generation_id}}/preview",
    summary="进行中的图片的预览",
    response_class=Response,
    responses=documented(errors.ImageNotFound, *_ONE)
    | {200: {"content": {"image/webp": {}}, "description": "目前的样子，WebP，不可缓存"}},
)
def get_preview(generation_id: ProductId, generations: Generations) -> Response:
    """正在生成的图片目前的样子；每步不一定有新的。"""
    return Response(
        generations.read_preview(generation_id),
        media_type="image/webp",
        headers={"Cache-Control": "no-store"} | images.SAFE_HEADERS,
    )
