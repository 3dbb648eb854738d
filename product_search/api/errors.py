"""Errors over HTTP: the handlers, and how OpenAPI documents them."""

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
from product_search.api.methods import allowed_methods
from product_search.context import current_request_id
from product_search.errors import AppError
from product_search.fetching.errors import (
    ImageFetchFailed,
    ImageFetchTimeout,
    ImageUrlDisabled,
    ImageUrlRefused,
)
from product_search.schemas.validation import invalid_request

log = logging.getLogger(__name__)

# What may be wrong with any body that is read here, with an image in it, and with a search of both
# stores.
BODY_ERRORS: tuple[type[AppError], ...] = (
    errors.InvalidRequest,
    errors.InvalidJson,
    errors.UnsupportedMediaType,
    errors.PayloadTooLarge,
    errors.RequestTimeout,
    errors.Overloaded,
)
IMAGE_ERRORS: tuple[type[AppError], ...] = (
    errors.InvalidImage,
    errors.ImageTooLarge,
    errors.ImageTooManyPixels,
    errors.ImageTooComplex,
    ImageUrlDisabled,
    ImageUrlRefused,
    ImageFetchFailed,
    ImageFetchTimeout,
)
SEARCH_ERRORS: tuple[type[AppError], ...] = (
    errors.Overloaded,
    errors.DatabaseUnavailable,
    errors.VectorStoreUnavailable,
)
QUEUE_ERRORS: tuple[type[AppError], ...] = (
    errors.RunInProgress,
    errors.DatabaseUnavailable,
    errors.DatabaseNotWritable,
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
    """Return a Markdown table of every error code with its status and meaning."""
    rows = [(kind.code, kind.status, _meaning(kind)) for kind in AppError.kinds()]
    rows += [(code, status, message) for status, (code, message) in _ROUTING.items()]
    rows.append((AppError.code, AppError.status, f"{AppError.example}；详情只在服务的日志里"))
    return "\n".join(
        ["| code | status | |", "|---|---|---|"]
        + [f"| `{code}` | {status} | {meaning} |" for code, status, meaning in rows]
    )


def install(app: FastAPI) -> None:
    """Make every error of the app answer `{code, message, fields?}`."""

    # Coroutines: a plain function would wait for a thread, of which there may be none free.
    @app.exception_handler(AppError)
    async def _app_error(_request: Request, error: AppError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def _validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        if request.method not in allowed_methods(app, request.scope):
            # A word of another route's path was taken for an id: DELETE /product/list.
            return await _routing_error(request, HTTPException(405))
        # FastAPI puts where a value came from ("query", "path") before its name.
        named = [entry | {"loc": entry["loc"][1:]} for entry in error.errors()]
        return await _app_error(request, invalid_request(named))

    @app.exception_handler(HTTPException)
    async def _routing_error(request: Request, error: HTTPException) -> JSONResponse:
        code, message = _ROUTING.get(error.status_code, ("http_error", str(error.detail)))
        told = _answer(error.status_code, ErrorBody(code=code, message=message))
        told.headers.update(error.headers or {})
        if error.status_code == 405:
            told.headers["Allow"] = ", ".join(sorted(allowed_methods(app, request.scope)))
        return told

    @app.exception_handler(ClientDisconnect)
    @app.exception_handler(errors.ClientGone)
    async def _gone(request: Request, _error: Exception) -> Response:
        log.info("%s %s: the client left before its answer", request.method, request.url.path)
        return Response(status_code=400)  # nobody reads it

    @app.exception_handler(Exception)
    async def _unknown_error(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        told = f"{AppError.example}（请求编号 {current_request_id.get()}，详情在服务的日志里）"
        return _answer(AppError.status, AppError(told).body())


def answer(error: AppError) -> JSONResponse:
    """Return the answer that tells the error, for handlers and for doors before the routes."""
    told = _answer(error.status, error.body())
    if error.retry_after_s is not None:
        told.headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        told.headers["WWW-Authenticate"] = "Bearer"
    return told


def documented(*kinds: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can raise these errors, an example for each code."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in dict.fromkeys(kinds):
        entry = responses.setdefault(
            kind.status,
            {
                "model": ErrorBody,
                "description": "",
                "content": {"application/json": {"examples": {}}},
            },
        )
        if kind.retry_after_s is not None:
            entry["headers"] = _RETRY_AFTER
        entry["description"] += f"{' / ' if entry['description'] else ''}{kind.code}"
        entry["content"]["application/json"]["examples"][kind.code] = {
            "summary": _meaning(kind),
            "value": {"code": kind.code, "message": kind.example},
        }
    return responses


def _meaning(kind: type[AppError]) -> str:
    return (kind.__doc__ or "").strip()


def _answer(status: int, body: ErrorBody) -> JSONResponse:
    return JSONResponse(body.model_dump(), status_code=status)
