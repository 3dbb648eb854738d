"""A file that comes as multipart/form-data, written to disk while it comes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from starlette.requests import ClientDisconnect

from product_search.api.bodies import FORM
from product_search.api.incoming import drain
from product_search.api.multipart import FormReader, Part, boundary_of
from product_search.bulk.uploads import or_upload_unavailable
from product_search.errors import (
    AppError,
    InvalidRequest,
    PayloadTooLarge,
    UnsupportedMediaType,
)

FIELD = "file"
_WRITTEN_AT_ONCE = 1 << 20
# Bytes of an upload that are in memory at once: what waits to be written, and the last to come.
KEPT = 2 * _WRITTEN_AT_ONCE


async def receive_file(
    request: Request, stream: IO[bytes], max_bytes: int, check_name: Callable[[str], object]
) -> str:
    """Write the file of the form's one field `file` to the stream; return the file's name.

    `check_name` is told that name before the content is read, and raises where it won't do.
    `max_bytes` bounds the whole body.

    Raises:
        UnsupportedMediaType, InvalidRequest, PayloadTooLarge, StorageUnavailable, and what
            IncomingBodies raise.
    """
    form = _FileForm(_boundary(request), check_name)
    expected = _content_length(request)
    received, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        received += len(message.get("body", b""))
        try:
            _check_size(max(received, expected), max_bytes)
            form.feed(message.get("body", b""))
            if not more or form.waiting >= _WRITTEN_AT_ONCE:
                await run_in_threadpool(form.write_to, stream)
        except AppError:
            if more:
                await drain(request.receive)
            raise
    return form.filename()


def _content_length(request: Request) -> int:
    """Return what the client says it sends; 0 where it does not say so in digits."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise PayloadTooLarge(f"上传过大：最多 {max_bytes} 字节")


def _boundary(request: Request) -> bytes:
    content_type = request.headers.get("content-type", "")
    is_form = content_type.partition(";")[0].strip().lower() == FORM
    boundary = boundary_of(content_type) if is_form else b""
    if not boundary:
        raise UnsupportedMediaType(f"请求体应为 {FORM}，文件在字段 {FIELD} 中")
    return boundary


class _FileForm:
    """A form of one file, of which what has come waits to be written."""

    def __init__(self, boundary: bytes, check_name: Callable[[str], object]) -> None:
        self.waiting = 0
        self._check_name = check_name
        self._content: list[bytes] = []
        self._filename: str | None = None
        try:
            self._reader = FormReader(boundary)
        except FormParserError as error:
            raise _malformed(error) from error

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes apart. Raises InvalidRequest, and what `check_name` raises."""
        try:
            found = self._reader.feed(chunk)
        except FormParserError as error:
            raise _malformed(error) from error
        for one in found:
            if isinstance(one, Part):
                self._begin(one)
            else:
                self._content.append(one)
                self.waiting += len(one)

    def write_to(self, stream: IO[bytes]) -> None:
        """Write what has come of the file. Raises StorageUnavailable."""
        with or_upload_unavailable():
            stream.writelines(self._content)
        self._content, self.waiting = [], 0

    def filename(self) -> str:
        """Return the file's name, once all of it has come. Raises InvalidRequest."""
        if not self._reader.is_whole:
            raise InvalidRequest("multipart 请求体有误：缺少结束边界，内容不完整")
        if self._filename is None:
            raise InvalidRequest(f"请求有误：{FIELD}：缺少必填项", {FIELD: "缺少必填项"})
        return self._filename

    def _begin(self, part: Part) -> None:
        field = (part.name or b"").decode(errors="replace")[:100]
        if field != FIELD:
            raise InvalidRequest(f"请求有误：{field}：未知字段", {field: "未知字段"})
        if self._filename is not None:
            raise InvalidRequest(f"请求有误：{FIELD}：字段重复", {FIELD: "字段重复"})
        if not part.filename:
            raise InvalidRequest(f"请求有误：{FIELD}：应为文件", {FIELD: "应为文件"})
        self._filename = part.filename
        self._check_name(part.filename)


def _malformed(error: FormParserError) -> InvalidRequest:
    return InvalidRequest(f"multipart 请求体有误：{error}")
