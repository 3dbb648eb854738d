"""Request bodies that come as JSON or as multipart: bounded, read, and described in OpenAPI."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from email.message import Message
from typing import Any, Generic, NoReturn, TypeVar

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message as AsgiMessage, Receive, Scope, Send

import data_models
from data_models import (
    BatchRequest,
    GenerationRequest,
    MatchRequest,
    ProductCreate,
    ProductPatch,
    RerankRequest,
    SearchRequest,
    TitlesRequest,
)
from product_search.errors import (
    InvalidJson,
    InvalidRequest,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from product_search.images.decoding import MAX_BYTES, from_base64
from product_search.schemas import examples
from product_search.schemas.validation import invalid_request

# An image at its limit as base64, and the other fields.
MAX_BODY = 15 * 1024 * 1024
# After a refusal no more than this is read.
_MAX_DRAINED = 100 * 1024 * 1024
_CHARSET = re.compile(r";\s*charset=[^;]*", re.ASCII | re.IGNORECASE)
_MAX_JSON_PARTS = 20_000  # more than the largest valid body has
_JSON_FIELDS = ("attributes", "filters", "generation", "legs", "parts", "region", "product_ids")
# Those that may come as a form, each with the example of one.
_BODIES: dict[type[BaseModel], examples.Example] = {
    ProductCreate: examples.PRODUCT_FORM,
    ProductPatch: examples.CHANGE_FORM,
    SearchRequest: examples.SEARCH_FORM,
    RerankRequest: examples.RERANK_FORM,
    TitlesRequest: examples.TITLES_FORM,
}
# No file comes beside these.
_JSON_BODIES: tuple[type[BaseModel], ...] = (BatchRequest, GenerationRequest, MatchRequest)

Model = TypeVar("Model", bound=BaseModel)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Body(Generic[Model]):
    """A validated body, and the image that came as a file beside it."""

    model: Model
    upload: bytes | None


@dataclass(frozen=True)
class RawBody:
    """A body as it came, JSON or the values of a form, and the file beside it."""

    content: bytes | dict[str, Any]
    upload: bytes | None = None

    async def answered(self, kind: type[Model], answer: Callable[[Body[Model]], Answer]) -> Answer:
        """What `answer` makes of the body as `kind`; a large one takes long to check: in a thread.

        Both in the same one: a hop between threads costs as much as a small body's checking.

        Raises:
            InvalidJson, InvalidRequest, and what `answer` raises.
        """

        def checked_and_answered() -> Answer:
            values = _parse_json(self.content) if isinstance(self.content, bytes) else self.content
            return answer(Body(validated(kind, values, self.upload), self.upload))

        return await run_in_threadpool(checked_and_answered)


class BodyLimit:
    """ASGI middleware: a body over MAX_BODY bytes raises PayloadTooLarge where it is read.

    Routes at the paths in `own_limits` bound their bodies themselves.
    """

    def __init__(self, app: ASGIApp, own_limits: Collection[str] = ()) -> None:
        self._app = app
        self._own_limits = own_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what the app receives."""
        received = 0

        async def counted() -> AsgiMessage:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY:
                if message.get("more_body"):
                    await drain(receive)
                raise PayloadTooLarge(f"请求体过大：最多 {MAX_BODY // 1024 // 1024} MB")
            return message

        bounded = scope.get("path") not in self._own_limits
        await self._app(scope, counted if bounded else receive, send)


async def drain(receive: Receive) -> None:
    """Read on and drop it: a client hears the answer only when it has sent its body."""
    dropped = 0
    while dropped < _MAX_DRAINED:
        message = await receive()
        dropped += len(message.get("body", b""))
        if not message.get("more_body"):
            return


async def read_body(request: Request) -> RawBody:
    """The body, from JSON or multipart (a file `image`, the other fields as text).

    Raises:
        UnsupportedMediaType, InvalidRequest, PayloadTooLarge.
    """
    media_type = _media_type(request)
    if media_type == "application/json":
        return RawBody(await request.body())
    if media_type == "multipart/form-data":
        return RawBody(*await _read_form(request))
    raise UnsupportedMediaType("请求体应为 application/json 或 multipart/form-data")


async def read_json(request: Request) -> RawBody:
    """The body, where no file may come. Raises UnsupportedMediaType, PayloadTooLarge."""
    if _media_type(request) != "application/json":
        raise UnsupportedMediaType("请求体应为 application/json")
    return RawBody(await request.body())


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _parse_json(text: bytes) -> Any:
    """JSON as the standard has it, without Python's NaN and Infinity.

    Raises InvalidJson, and InvalidRequest for one of so many parts that only reading them would
    keep the service from everybody else.
    """
    if sum(text.count(mark) for mark in (b",", b"[", b"{")) > _MAX_JSON_PARTS:
        raise InvalidRequest("请求体过于复杂：JSON 的项数过多")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidJson("请求体不是有效的 JSON") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


async def _read_form(request: Request) -> tuple[dict[str, Any], bytes | None]:
    values: dict[str, Any] = {}
    upload = None
    latin = _as_latin1(request)
    await _check_is_whole(latin)
    try:
        async with latin.form(max_files=2, max_fields=50) as form:
            for latin_name, value in form.multi_items():
                name = _utf8(latin_name)
                if name in values or (name == "image" and upload is not None):
                    raise InvalidRequest("请求有误：字段重复", {name: "字段重复"})
                if isinstance(value, UploadFile):
                    upload = await _read_upload(name, value)
                else:
                    text = _utf8(value)
                    values[name] = _parse_json(text.encode()) if name in _JSON_FIELDS else text
    except HTTPException as error:
        raise InvalidRequest(f"multipart 请求体有误：{error.detail}") from error
    return values, upload


def _as_latin1(request: Request) -> Request:
    """The same request, its form read as Latin-1, which keeps every byte for `_utf8` to judge.

    Starlette would read text that is not UTF-8 as Latin-1 without a word: garbage in the catalog.
    """
    plain = _CHARSET.sub("", request.headers["content-type"]) + "; charset=latin-1"
    others = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
    headers = [*others, (b"content-type", plain.encode("latin-1"))]
    return Request({**request.scope, "headers": headers}, request.receive)


async def _check_is_whole(request: Request) -> None:
    """Starlette drops a part that is cut off, and with it an image, without a word."""
    header = Message()
    header["content-type"] = request.headers["content-type"]
    boundary = header.get_boundary() or ""
    if f"--{boundary}--".encode("latin-1") not in (await request.body())[-200:]:
        raise InvalidRequest("multipart 请求体有误：缺少结束边界，内容不完整")


def _utf8(latin1: str) -> str:
    try:
        return latin1.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("multipart 请求体有误：文字不是 UTF-8 编码") from error


async def _read_upload(name: str, file: UploadFile) -> bytes | None:
    if name != "image":
        raise InvalidRequest("请求有误：未知的文件字段", {name: "文件字段只能是 image"})
    content = await file.read(MAX_BYTES + 1)  # one byte too many is refused by its size
    # A browser sends an untouched file input as a file without name and content.
    return content if content or file.filename else None


def validated(kind: type[Model], values: object, upload: bytes | None = None) -> Model:
    """Parsed JSON, or the values of a form, as `kind`. Raises InvalidRequest."""
    if not isinstance(values, dict):
        raise InvalidRequest("请求应为 JSON 对象")
    if upload is not None and "image_base64" in values:
        reason = "image_base64 与文件 image 只能给出一个"
        raise InvalidRequest(f"请求有误：{reason}", {"image": reason})
    try:
        return kind.model_validate(values, context={"upload": upload is not None})
    except ValidationError as error:
        raise invalid_request(error.errors()) from error


def picture(body: Body[Any]) -> bytes | None:
    """The file, or the bytes of `image_base64`. Raises InvalidImage, ImageTooLarge."""
    if body.upload is not None:
        return body.upload
    text: str | None = body.model.image_base64
    return None if text is None else from_base64(text)


def documented_body(kind: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads `kind` with `read_body` or `read_json`."""
    schemas = {"application/json": kind.__name__}
    if kind in _BODIES:
        schemas["multipart/form-data"] = f"{kind.__name__}Form"
    content = {
        media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}
        for media_type, schema in schemas.items()
    }
    return {"requestBody": {"required": True, "content": content}}


def describe_bodies(app: FastAPI) -> None:
    """Add to the app's OpenAPI the schemas that `documented_body` names."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            schema["components"]["schemas"] |= _body_schemas()
            _restore_nulls(schema["components"]["schemas"])
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _restore_nulls(schemas: dict[str, Any]) -> None:
    """FastAPI drops what is null from examples; answers have it."""
    for name, schema in schemas.items():
        if "examples" in schema and hasattr(data_models, name):
            kind: type[BaseModel] = getattr(data_models, name)
            schema["examples"] = kind.model_json_schema()["examples"]


def _body_schemas() -> dict[str, Any]:
    _, top = models_json_schema(
        [(kind, "validation") for kind in (*_BODIES, *_JSON_BODIES)],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = dict(top["$defs"])
    for kind, example in _BODIES.items():
        schemas[f"{kind.__name__}Form"] = _form_schema(schemas[kind.__name__], example)
    return schemas


def _form_schema(schema: dict[str, Any], example: examples.Example) -> dict[str, Any]:
    """The multipart twin of a JSON body.

    Each field bears its part of the example, since Swagger UI fills in a form field by field.
    """
    properties = {k: v for k, v in schema["properties"].items() if k != "image_base64"}
    for name in _JSON_FIELDS:
        if name in properties:
            properties[name] = {"type": "string", "description": "JSON 文本"}
    properties["image"] = {"type": "string", "format": "binary", "description": "图片文件"}
    for name, value in example.items():
        properties[name] = properties[name] | {"examples": [value]}
    return schema | {"properties": properties, "examples": [example]}
