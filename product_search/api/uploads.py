"""A file that comes as multipart/form-data, written to disk while it comes in."""

from __future__ import annotations

from collections.abc import Callable
from email.message import Message
from typing import IO

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from product_search.api.bodies import drain
from product_search.bulk.uploads import saving
from product_search.errors import (
    AppError,
    InvalidRequest,
    PayloadTooLarge,
    UnsupportedMediaType,
)

FIELD = "file"
_WRITTEN_AT_ONCE = 1 << 20


async def receive_file(
    request: Request, stream: IO[bytes], max_bytes: int, check_name: Callable[[str], object]
) -> str:
    """Write the file of the form's one field `file` to the stream: the name that it was sent under.

    `check_name` is told that name before the content is read, and raises where it won't do.
    `max_bytes` bounds the whole body.

    Raises:
        UnsupportedMediaType, InvalidRequest, PayloadTooLarge, StorageUnavailable.
    """
    form = _FileForm(_boundary(request), check_name)
    expected = int(request.headers.get("content-length", "0"))
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


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise PayloadTooLarge(f"上传过大：最多 {max_bytes} 字节")


def _boundary(request: Request) -> bytes:
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/form-data" or not boundary:
        raise UnsupportedMediaType(f"请求体应为 multipart/form-data，文件在字段 {FIELD} 中")
    return boundary.encode("latin-1")


class _FileForm:
    """A form of one file, taken apart as it comes."""

    def __init__(self, boundary: bytes, check_name: Callable[[str], object]) -> None:
        self.waiting = 0
        self._check_name = check_name
        self._content: list[bytes] = []
        self._filename: str | None = None
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._is_whole = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_content,
                "on_part_data": self._add_content,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes apart. Raises InvalidRequest."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(f"multipart 请求体有误：{error}") from error

    def write_to(self, stream: IO[bytes]) -> None:
        """Write what has come of the file. Raises StorageUnavailable."""
        with saving():
            stream.writelines(self._content)
        self._content, self.waiting = [], 0

    def filename(self) -> str:
        """The file's name, once all of it has come. Raises InvalidRequest."""
        if not self._is_whole:
            raise InvalidRequest("multipart 请求体有误：缺少结束边界，内容不完整")
        if self._filename is None:
            raise InvalidRequest(f"请求有误：{FIELD}：缺少必填项", {FIELD: "缺少必填项"})
        return self._filename

    def _begin_part(self) -> None:
        self._header = self._value = self._disposition = b""

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._disposition)
        field = options.get(b"name", b"").decode(errors="replace")[:100]
        if field != FIELD:
            raise InvalidRequest(f"请求有误：{field}：未知字段", {field: "未知字段"})
        if self._filename is not None:
            raise InvalidRequest(f"请求有误：{FIELD}：字段重复", {FIELD: "字段重复"})
        if not options.get(b"filename"):
            raise InvalidRequest(f"请求有误：{FIELD}：应为文件", {FIELD: "应为文件"})
        self._filename = options[b"filename"].decode(errors="replace")
        self._check_name(self._filename)

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        self._content.append(data[start:end])
        self.waiting += end - start

    def _end(self) -> None:
        self._is_whole = True
