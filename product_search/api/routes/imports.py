"""Bulk import over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from data_models import INT64_MAX, ImportAccepted, ImportStatus, ProductId, Whole
from product_search import errors
from product_search.api.dependencies import Imports, Runs
from product_search.api.errors import documented
from product_search.api.uploads import FIELD, receive_file
from product_search.bulk import errors as refusals
from product_search.bulk.sources import kind_of

PATH = "/product/import"

router = APIRouter(tags=["导入"])

_ONE = errors.ImportNotFound, errors.InvalidRequest, errors.DatabaseUnavailable

_FORM = {
    "type": "object",
    "required": [FIELD],
    "additionalProperties": False,
    "properties": {
        FIELD: {
            "type": "string",
            "format": "binary",
            "examples": ["products.zip"],
            "description": "商品表 .csv 或 .jsonl；或 .zip：一个商品表，连同 image_path 所指的图片",
        }
    },
}


_FILE_NAME = {
    "required": True,
    "description": "文件名以 .csv、.jsonl 或 .zip 结尾",
    "schema": {"type": "string"},
    "example": f'form-data; name="{FIELD}"; filename="products.csv"',
}
_CONTENT = {
    "multipart/form-data": {
        "schema": _FORM,
        "encoding": {FIELD: {"headers": {"Content-Disposition": _FILE_NAME}}},
    }
}


@router.post(
    PATH,
    status_code=202,
    summary="批量导入",
    responses=documented(
        errors.InvalidRequest,
        errors.UnsupportedMediaType,
        errors.PayloadTooLarge,
        errors.RequestTimeout,
        errors.Overloaded,
        errors.ImportFileError,
        refusals.ImportTypeUnknown,
        refusals.ImportEncodingUnknown,
        refusals.ImportHeaderInvalid,
        refusals.ImportTooManyRows,
        refusals.ZipUnreadable,
        refusals.ZipEncrypted,
        refusals.ZipTooLarge,
        refusals.ZipUnsafeName,
        refusals.ZipTableCount,
        errors.QueueFull,
        errors.DatabaseUnavailable,
        errors.DatabaseNotWritable,
        errors.OutcomeUnknown,
        errors.StorageUnavailable,
    ),
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
)
async def start_import(request: Request, imports: Imports, runs: Runs) -> ImportAccepted:
    """按 sku 新增或更新文件里的商品。回答 202 时文件已存妥；导入在后台进行，服务重启后接着做。"""
    upload = await run_in_threadpool(imports.new_upload)
    try:
        name = await receive_file(request, upload.stream, imports.max_bytes, kind_of)
        import_id = await run_in_threadpool(imports.enqueue, upload, name)
    finally:
        await run_in_threadpool(upload.close)
    runs.wake()
    return ImportAccepted(import_id=import_id, status_url=f"{PATH}/{import_id}")


@router.delete(
    f"{PATH}/{{import_id}}",
    status_code=204,
    summary="取消导入",
    responses=documented(errors.ImportFinished, errors.OutcomeUnknown, *_ONE),
)
def cancel_import(import_id: ProductId, imports: Imports) -> None:
    """取消：此后不再写入；已经写入的商品保留，进度里看得到有多少。已取消的，再取消也是 204。"""
    imports.cancel(import_id)


@router.get(f"{PATH}/{{import_id}}", summary="导入的进度", responses=documented(*_ONE))
def get_import(
    import_id: ProductId,
    imports: Imports,
    after: Annotated[Whole, Query(ge=0, le=INT64_MAX, description="上一页的 next_after")] = 0,
    limit: Annotated[Whole, Query(ge=1, le=1000, description="一页坏行的数目")] = 100,
) -> ImportStatus:
    """进度、计数，和一页坏行（行号与原因）。"""
    return imports.status(import_id, after, limit)
