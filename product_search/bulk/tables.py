"""The reader of product tables: CSV or JSONL, row by row, however hostile the file."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from typing import IO, Any, TextIO

from product_search.errors import ImportEncodingUnknown, ImportHeaderInvalid

IMAGE_COLUMN = "image_path"
COLUMNS = (
    "sku",
    "title",
    "description",
    "category",
    "brand",
    "price",
    "attributes",
    "group",
    IMAGE_COLUMN,
)
# Characters: ten times the longest valid row, every character of it escaped. A longer row is never
# held whole, whatever an open quote or a missing line end takes into it.
MAX_ROW = 4_000_000
_LINES_BETWEEN_CHECKS = 1000
Check = Callable[[], None]
# `_RowLines` bounds the row before a cell can be too long: csv itself would go on inside the cell.
csv.field_size_limit(MAX_ROW + 1)


@dataclass(frozen=True)
class Row:
    """A row as read: its first line in the file (from 1), and the cells by column."""

    line: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that is left out, and why."""

    line: int
    reason: str


def go_on() -> None:
    """Go on: the default check."""


class Table:
    """A CSV or JSONL file that can be read several times."""

    def __init__(self, open_bytes: Callable[[], IO[bytes]], kind: str, name: str) -> None:
        """Find out the encoding.

        Args:
            open_bytes: opens the file from its start.
            kind: ".csv" or ".jsonl".
            name: what messages call the file.

        Raises:
            ImportEncodingUnknown: the file is neither UTF-8 nor GB18030.
        """
        self._open = open_bytes
        self._read = {".csv": _read_csv, ".jsonl": _read_jsonl}[kind]
        self._encoding = _find_encoding(open_bytes, name)

    def check_header(self) -> None:
        """Raise ImportHeaderInvalid where the table is a CSV with a wrong header."""
        if self._read is _read_csv:
            with TextIOWrapper(self._open(), encoding=self._encoding, newline="") as stream:
                _read_header(csv.reader(_RowLines(_CheckedText(stream, go_on)), strict=True))

    def rows(self, check: Check = go_on) -> Iterator[Row | BadRow]:
        """Yield every row, in order.

        Args:
            check: called now and then, at lines without a row too; raises where to stop.

        Raises:
            ImportHeaderInvalid: before the first row.
        """
        with TextIOWrapper(self._open(), encoding=self._encoding, newline="") as stream:
            yield from self._read(_CheckedText(stream, check))


def _find_encoding(open_bytes: Callable[[], IO[bytes]], name: str) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            with open_bytes() as stream:
                while chunk := stream.read(1 << 20):
                    decoder.decode(chunk)
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return encoding
    raise ImportEncodingUnknown(f"{name}：既不是 UTF-8 也不是 GB18030 编码")


class _CheckedText:
    """A text whose reader calls `check` every so many lines."""

    def __init__(self, stream: TextIO, check: Check) -> None:
        self._readline = stream.readline
        self._check = check
        self._lines = 0

    def readline(self, limit: int) -> str:
        """Return the next line, or so many characters of it; "" at the end."""
        if self._lines % _LINES_BETWEEN_CHECKS == 0:
            self._check()
        self._lines += 1
        return self._readline(limit)


class _RowTooLong(Exception):
    """The row is longer than MAX_ROW, and was not read to its end."""


class _RowLines:
    """Lines of a text as csv takes them; raises _RowTooLong at a row of over MAX_ROW."""

    def __init__(self, stream: _CheckedText) -> None:
        self._stream = stream
        self._length = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MAX_ROW + 1)
        if not line:
            raise StopIteration
        self._length += len(line)
        if self._length > MAX_ROW:
            raise _RowTooLong
        return line

    def begin_row(self) -> None:
        """Count from here: the lines before belong to other rows."""
        self._length = 0


def _read_csv(stream: _CheckedText) -> Iterator[Row | BadRow]:
    lines = _RowLines(stream)
    reader = csv.reader(lines, strict=True)
    header = _read_header(reader)
    while True:
        lines.begin_row()
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _RowTooLong:
            # Where the row ends can't be told, so nothing behind it is taken for a row.
            reached = reader.line_num + 1
            yield BadRow(
                line, f"过长（到第 {reached} 行已超过 {MAX_ROW} 个字符）：此后的内容没有读"
            )
            return
        except csv.Error as error:
            reached = reader.line_num  # an open quote takes all that follows into one row
            yield BadRow(line, f"不是有效的 CSV（到第 {reached} 行）：{error}")
            continue
        if not cells:
            continue  # an empty line is no row
        if len(cells) != len(header):
            yield BadRow(line, f"有 {len(cells)} 列，表头有 {len(header)} 列")
            continue
        # CSV knows no null: an empty cell is one.
        yield Row(line, {name: cell or None for name, cell in zip(header, cells, strict=True)})


def _read_header(reader: Iterator[list[str]]) -> list[str]:
    try:
        header = next(reader, [])
    except (csv.Error, _RowTooLong) as error:
        raise ImportHeaderInvalid(f"第 1 行不是有效的 CSV：{error or '过长'}") from error
    problems = [f"未知列 {name[:100]!r}" for name in header if name not in COLUMNS]
    problems += [f"重复的列 {name!r}" for name in COLUMNS if header.count(name) > 1]
    problems += [f"缺少列 {name!r}" for name in ("sku", "title") if name not in header]
    if problems:
        shown = "；".join(problems[:20])
        raise ImportHeaderInvalid(f"表头有误：{shown}。可用的列：{', '.join(COLUMNS)}")
    return header


def _read_jsonl(stream: _CheckedText) -> Iterator[Row | BadRow]:
    number = 0
    while text := stream.readline(MAX_ROW):
        number += 1
        if len(text) == MAX_ROW and not _ends(text):
            _skip_line(stream)
            yield BadRow(number, f"过长（超过 {MAX_ROW} 个字符）")
        elif text.strip():
            yield _parse_row(number, text)


def _ends(text: str) -> bool:
    return text.endswith(("\n", "\r"))


def _skip_line(stream: _CheckedText) -> None:
    while (text := stream.readline(MAX_ROW)) and not _ends(text):
        pass


def _parse_row(line: int, text: str) -> Row | BadRow:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return BadRow(line, "不是有效的 JSON")
    return Row(line, values) if isinstance(values, dict) else BadRow(line, "应为 JSON 对象")
