"""Request bodies, JSON or a form with an image: read, and described in OpenAPI."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError

from product_search.api.fetches import fetch_pictures, names_urls
from product_search.api.multipart import FormReader, Part, boundary_of
from product_search.api.pictures import brings_pictures
from product_search.api.threads import RequestThreads
from product_search.errors import (
    InvalidJson,
    InvalidRequest,
    UnsupportedMediaType,
)
from product_search.fetching.fetcher import Fetcher
from product_search.schemas.examples import Example
from product_search.schemas.fields import TYPED
from product_search.schemas.validation import invalid_request

JSON, FORM = "application/json", "multipart/form-data"
_MAX_JSON_PARTS = 20_000  # more than the largest valid body has
_LARGE = 256 * 1024  # bytes, beyond which a body is most likely a picture's
_MAX_FIELDS, _MAX_FILES = 50, 2
_MAX_FIELD_KB = 1024
_OTHER_IMAGES = {"image_base64", "image_url"}
# Fields that a form has as JSON text.
JSON_FIELDS = (
    *("attributes", "filters", "generation", "legs", "parts", "region", "product_ids"),
    "understand",
)

Model = TypeVar("Model", bound=BaseModel)
Answer = TypeVar("Answer")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Body(Generic[Model]):
    """A request's body, of one of the media types that its route takes; not read yet.

    The route reads it, so that what is wrong with the path or the query is told before.
    """

    kind: type[Model]
    media_types: tuple[str, ...]
    request: Request

    async def apply(
        self,
        function: Callable[[Model], Answer],
        threads: RequestThreads | None = None,
        pictures: RequestThreads | None = None,
        fetcher: Fetcher | None = None,
    ) -> Answer:
        """Return the function's answer to the body as its model; a form's file is its `image`.

        A search runs in the threads of searches, anything else in those that all share; where
        there are pictures to decode, in the threads of `pictures`. Pictures that the body names by
        URL are fetched before, in no thread; who takes such bodies gives the `fetcher`.

        Checking a large body takes long, as do most functions: one worker thread does both. A
        route that calls this is a coroutine, since FastAPI checks the answers of plain functions
        in a thread as well, for which they wait a second time when all threads are taken.

        Raises:
            UnsupportedMediaType, InvalidJson, InvalidRequest, and what IncomingBodies,
            RequestThreads.run, Fetcher.fetch and the function raise.
        """
        content_type = self.request.headers.get("content-type", "")
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type not in self.media_types:
            raise UnsupportedMediaType(f"请求体应为 {' 或 '.join(self.media_types)}")
        content = await self.request.body()
        parse = _parse_json if media_type == JSON else partial(_form_values, content_type)
        has_moved = pictures is not None and (media_type == FORM or len(content) > _LARGE)
        if has_moved:
            threads = pictures
        is_left = pictures is not None and not has_moved
        work = partial(self._answer, function, parse, content, is_left=is_left)
        answer = await self._run(threads, work)
        if not isinstance(answer, _LeftToPictures):
            return answer
        if answer.has_urls:
            assert fetcher is not None, "a route of such bodies gives it"
            await fetch_pictures(self.request, answer.model, fetcher)
        return await self._run(pictures or threads, partial(function, answer.model))

    async def _run(self, threads: RequestThreads | None, work: Callable[[], Result]) -> Result:
        """Return what the work returns, in these threads or in those that all share."""
        if threads is None:
            return await run_in_threadpool(work)
        return await threads.run(self.request, work)

    def _answer(
        self,
        function: Callable[[Model], Answer],
        parse: Callable[[bytes], Any],
        content: bytes,
        *,
        is_left: bool,
    ) -> Answer | _LeftToPictures[Model]:
        """Return the function's answer, or the body where it has pictures and is left to others.

        A body that names pictures by URL is left in any case.
        """
        model = validated(self.kind, parse(content), is_typed=parse is _parse_json)
        if brings_pictures(model):
            has_urls = names_urls(model)
            if is_left or has_urls:
                return _LeftToPictures(model, has_urls)
        return function(model)


@dataclass(frozen=True)
class _LeftToPictures(Generic[Model]):
    """A body that is to be answered in the threads of pictures."""

    model: Model
    has_urls: bool  # of pictures that are to be fetched before


@dataclass(frozen=True, eq=False)
class BodyReader(Generic[Model]):
    """The dependency of a body of this model: JSON and, with an example of one, a form."""

    kind: type[Model]
    form_example: Example | None = None

    async def __call__(self, request: Request) -> Body[Model]:
        """Return the body, for the route to read."""
        return Body(self.kind, (JSON,) if self.form_example is None else (JSON, FORM), request)


def json_body(kind: type[BaseModel]) -> Any:
    """Return the dependency of a route that takes the model as JSON alone."""
    return Depends(BodyReader(kind))


def json_or_form(kind: type[BaseModel], form_example: Example) -> Any:
    """Return the dependency of a route that takes the model as JSON, or as a form with a file."""
    return Depends(BodyReader(kind, form_example))


def validated(kind: type[Model], values: object, *, is_typed: bool = True) -> Model:
    """Return parsed JSON, or the values of a form, as the model. Raises InvalidRequest.

    In a form, which bears no types, a text may be a number, true or false.
    """
    if not isinstance(values, dict):
        raise InvalidRequest("请求应为 JSON 对象")
    if isinstance(values.get("image"), bytes) and _OTHER_IMAGES & values.keys():
        reason = "image_base64、image_url 与文件 image 只能给出一个"
        raise InvalidRequest(f"请求有误：{reason}", {"image": reason})
    try:
        return kind.model_validate(values, context=TYPED if is_typed else None)
    except ValidationError as error:
        raise invalid_request(error.errors()) from error


def _parse_json(text: bytes) -> Any:
    """Return JSON as the standard has it, without Python's NaN and Infinity.

    Raises InvalidJson, and InvalidRequest for so many parts that only reading them would keep the
    service from everybody else.
    """
    if sum(text.count(mark) for mark in (b",", b"[", b"{")) > _MAX_JSON_PARTS:
        raise InvalidRequest("请求体过于复杂：JSON 的项数过多")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidJson("请求体不是有效的 JSON") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _form_values(content_type: str, body: bytes) -> dict[str, Any]:
    """Return a form's fields by name: text, what JSON says, or the bytes of the file `image`."""
    values: dict[str, Any] = {}
    for part, content in _parts(body, boundary_of(content_type)):
        name = _utf8(part.name or b"")
        if name in values:
            raise InvalidRequest("请求有误：字段重复", {name: "字段重复"})
        if part.filename is None:
            text = _utf8(content)
            values[name] = _parse_json(content) if name in JSON_FIELDS else text
        elif name != "image":
            raise InvalidRequest("请求有误：未知的文件字段", {name: "文件字段只能是 image"})
        elif content or part.filename:
            # A browser sends an untouched file input as a file without name and content.
            values[name] = content
    return values


def _parts(body: bytes, boundary: bytes) -> list[tuple[Part, bytes]]:
    """Return the parts of a form that is whole. Raises InvalidRequest."""
    if b"--%b--" % boundary not in body[-200:]:
        raise _cut_off()
    if not boundary:
        raise _bad_form("Missing boundary in multipart.")
    try:
        reader = FormReader(boundary)
        found = reader.feed(body)
    except FormParserError as error:
        raise _bad_form("Invalid multipart data.") from error
    if not reader.is_whole:
        raise _cut_off()
    parts = _joined(found)
    _check_limits(parts)
    return parts


def _joined(found: Iterable[Part | bytes]) -> list[tuple[Part, bytes]]:
    """Return each part with the whole of its content."""
    parts: list[tuple[Part, list[bytes]]] = []
    for one in found:
        if isinstance(one, Part):
            parts.append((one, []))
        else:
            parts[-1][1].append(one)
    return [(part, b"".join(pieces)) for part, pieces in parts]


def _check_limits(parts: list[tuple[Part, bytes]]) -> None:
    files = sum(part.filename is not None for part, _ in parts)
    if files > _MAX_FILES:
        raise _bad_form(f"Too many files. Maximum number of files is {_MAX_FILES}.")
    if len(parts) - files > _MAX_FIELDS:
        raise _bad_form(f"Too many fields. Maximum number of fields is {_MAX_FIELDS}.")
    for part, content in parts:
        if part.name is None:
            raise _bad_form('The Content-Disposition header field "name" must be provided.')
        if part.filename is None and len(content) > _MAX_FIELD_KB * 1024:
            raise _bad_form(f"Part exceeded maximum size of {_MAX_FIELD_KB}KB.")


def _cut_off() -> InvalidRequest:
    return _bad_form("缺少结束边界，内容不完整")


def _bad_form(reason: str) -> InvalidRequest:
    return InvalidRequest(f"multipart 请求体有误：{reason}")


def _utf8(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _bad_form("文字不是 UTF-8 编码") from error
