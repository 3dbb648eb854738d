"""Errors over HTTP: the one status table, the handlers, and their page in OpenAPI."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from data_models import ErrorBody
from product_search import errors
from product_search.errors import AppError, invalid_request

log = logging.getLogger(__name__)

STATUS: dict[type[AppError], int] = {
    errors.InvalidRequest: 422,
    errors.InvalidJson: 422,
    errors.UnsupportedMediaType: 415,
    errors.PayloadTooLarge: 413,
    errors.InvalidImage: 422,
    errors.ImageTooLarge: 413,
    errors.ImageTooManyPixels: 422,
    errors.ProductNotFound: 404,
    errors.ImageNotFound: 404,
    errors.ProductWithoutImage: 422,
    errors.ProductNotIndexed: 409,
    errors.DuplicateSku: 409,
    errors.RegionOutsideImage: 422,
    errors.CursorInvalid: 422,
    errors.CursorStale: 409,
    errors.NotCalibrated: 409,
    errors.ImportNotFound: 404,
    errors.ImportFileError: 422,
    errors.ImportTypeUnknown: 415,
    errors.ImportEncodingUnknown: 422,
    errors.ImportHeaderInvalid: 422,
    errors.ZipUnreadable: 422,
    errors.ZipEncrypted: 422,
    errors.ZipTooLarge: 413,
    errors.ZipUnsafeName: 422,
    errors.ZipTableCount: 422,
    errors.RunInProgress: 409,
    errors.GenerationNotFound: 404,
    errors.GenerationFinished: 409,
    errors.QueueFull: 429,
    errors.OutboxFull: 429,
    errors.DatabaseUnavailable: 503,
    errors.OutcomeUnknown: 503,
    errors.StorageUnavailable: 503,
    errors.VectorStoreUnavailable: 503,
    errors.GenerationModelMissing: 503,
}
_MESSAGES: dict[type[AppError], str] = {  # as the examples of OpenAPI show them
    errors.InvalidRequest: "请求有误：title：不能为空白",
    errors.InvalidJson: "请求体不是有效的 JSON",
    errors.UnsupportedMediaType: "请求体应为 application/json 或 multipart/form-data",
    errors.PayloadTooLarge: "请求体过大：最多 15 MB",
    errors.InvalidImage: "图片已损坏或不完整",
    errors.ImageTooLarge: "图片过大：最多 10 MB",
    errors.ImageTooManyPixels: "图片像素过多：最多 4000 万像素",
    errors.ProductNotFound: "商品 1 不存在",
    errors.ImageNotFound: "商品 1 没有图片",
    errors.ProductWithoutImage: "商品 1 没有图片，不能用作图片查询",
    errors.ProductNotIndexed: "商品 1 尚未建立索引，请稍后再试",
    errors.DuplicateSku: "sku 'DEMO-0001' 已被另一个商品使用",
    errors.RegionOutsideImage: "region 超出图片：图片为 800 × 600 像素",
    errors.CursorInvalid: "cursor 无法识别：请原样使用上一页的 next_cursor",
    errors.CursorStale: "cursor 已失效：在用的向量集合已更换，请从第一页重新搜索",
    errors.NotCalibrated: "在用的编码器没有校准文件，给不出 confidence：请去掉 min_confidence",
    errors.ImportNotFound: "没有编号为 1 的导入",
    errors.ImportFileError: "a.csv：文件不存在",
    errors.ImportTypeUnknown: "a.xlsx：只支持 .csv、.jsonl、.zip 文件",
    errors.ImportEncodingUnknown: "a.csv：既不是 UTF-8 也不是 GB18030 编码",
    errors.ImportHeaderInvalid: "表头有误：缺少列 'sku'",
    errors.ZipUnreadable: "ZIP 已损坏或不完整",
    errors.ZipEncrypted: "ZIP 有密码：请上传没有密码的",
    errors.ZipTooLarge: "ZIP 解压后过大",
    errors.ZipUnsafeName: "ZIP 内的文件名 '../a.png' 指向 ZIP 之外",
    errors.ZipTableCount: "ZIP 内应有且只有一个商品表（.csv 或 .jsonl），现有 0 个",
    errors.OutboxFull: "待建立索引的改动过多，请稍后重试",
    errors.RunInProgress: "已有一次核对尚未结束（编号 3），请等它结束",
    errors.GenerationNotFound: "没有编号为 1 的图片生成",
    errors.GenerationFinished: "编号为 1 的图片生成已经结束（done），不能再取消",
    errors.QueueFull: "排队的图片生成过多（8 个），请稍后重试",
    errors.DatabaseUnavailable: "数据库暂时不可用，请稍后重试",
    errors.OutcomeUnknown: (
        "与数据库的连接在提交时中断：改动可能已保存，也可能没有；请先查看，再决定是否重试"
    ),
    errors.StorageUnavailable: "图片暂时无法保存，请稍后重试",
    errors.VectorStoreUnavailable: "向量库暂时不可用，请稍后重试",
    errors.GenerationModelMissing: (
        "没有图片生成模型（Tongyi-MAI/Z-Image-Turbo）："
        "请先运行 python -m product_search.manage download-models --generation"
    ),
}
# What may be wrong with any body that is read here, with an image in it, and with both stores.
BODY_ERRORS: tuple[type[AppError], ...] = (
    errors.InvalidRequest,
    errors.InvalidJson,
    errors.UnsupportedMediaType,
    errors.PayloadTooLarge,
)
IMAGE_ERRORS: tuple[type[AppError], ...] = (
    errors.InvalidImage,
    errors.ImageTooLarge,
    errors.ImageTooManyPixels,
)
STORE_ERRORS: tuple[type[AppError], ...] = (
    errors.DatabaseUnavailable,
    errors.VectorStoreUnavailable,
)
QUEUE_ERRORS: tuple[type[AppError], ...] = (
    errors.RunInProgress,
    errors.DatabaseUnavailable,
    errors.OutcomeUnknown,
)
_RETRY_AFTER = {
    "Retry-After": {
        "description": "多少秒后可以重试；outcome_unknown 没有它：先查看，再决定是否重试",
        "schema": {"type": "integer"},
    }
}
_ROUTING = {404: ("not_found", "没有这个地址"), 405: ("method_not_allowed", "此地址不支持该方法")}


def code_table() -> str:
    """Every error code with its status and meaning, in Markdown."""
    rows = [(kind.code, status, (kind.__doc__ or "").strip()) for kind, status in STATUS.items()]
    rows += [(code, status, message) for status, (code, message) in _ROUTING.items()]
    rows.append((AppError.code, 500, "服务内部错误；详情只在服务的日志里"))
    return "\n".join(
        ["| code | status | |", "|---|---|---|"]
        + [f"| `{code}` | {status} | {meaning} |" for code, status, meaning in rows]
    )


def install(app: FastAPI) -> None:
    """Every error of the app answers `{code, message, fields?}`."""

    @app.exception_handler(AppError)
    def _app_error(_request: Request, error: AppError) -> JSONResponse:
        answer = _answer(STATUS[type(error)], error.body())
        if error.retry_after_s is not None:
            answer.headers["Retry-After"] = str(error.retry_after_s)
        return answer

    @app.exception_handler(RequestValidationError)
    def _validation_error(_request: Request, error: RequestValidationError) -> JSONResponse:
        # FastAPI puts where a value came from ("query", "path") before its name.
        named = [entry | {"loc": entry["loc"][1:]} for entry in error.errors()]
        return _app_error(_request, invalid_request(named))

    @app.exception_handler(HTTPException)
    def _routing_error(_request: Request, error: HTTPException) -> JSONResponse:
        code, message = _ROUTING.get(error.status_code, ("http_error", str(error.detail)))
        answer = _answer(error.status_code, ErrorBody(code=code, message=message))
        answer.headers.update(error.headers or {})  # 405 says what is allowed
        return answer

    @app.exception_handler(ClientDisconnect)
    def _gone(request: Request, _error: ClientDisconnect) -> Response:
        log.info("%s %s: the client left before its body was whole", request.method, request.url)
        return Response(status_code=400)  # nobody reads it

    @app.exception_handler(Exception)
    def _unknown_error(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _answer(500, ErrorBody(code=AppError.code, message="服务内部错误"))


def documented(*kinds: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can answer with these errors, an example for each code."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status = STATUS[kind]
        entry = responses.setdefault(
            status,
            {
                "model": ErrorBody,
                "description": "",
                "content": {"application/json": {"examples": {}}},
            },
        )
        if kind.retry_after_s is not None:
            entry["headers"] = _RETRY_AFTER
        summary = (kind.__doc__ or "").strip()
        message = _MESSAGES[kind]
        entry["description"] += f"{' / ' if entry['description'] else ''}{kind.code}"
        entry["content"]["application/json"]["examples"][kind.code] = {
            "summary": summary,
            "value": {"code": kind.code, "message": message},
        }
    return responses


def _answer(status: int, body: ErrorBody) -> JSONResponse:
    return JSONResponse(body.model_dump(), status_code=status)
