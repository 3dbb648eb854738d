"""The reader of product tables: CSV or JSONL, row by row, however hostile the file."""

from __future__ import annotations

import codecs
import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader, RawIOBase, TextIOWrapper
from itertools import islice
from typing import IO, Any, TextIO

from product_search.bulk.errors import (
    ImportEncodingUnknown,
    ImportHeaderInvalid,
    ImportTooManyRows,
    ZipTooLarge,
)

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
# Of a file from a stranger, empty lines among them; an import holds the skus, 130 bytes a row.
MAX_ROWS = 2_000_000
_LINES_A_ROW = 10  # on average, at most: a cell may hold several
_ENCODINGS = ("utf-8-sig", "gb18030")
_BLOCK = 1 << 16  # bytes
_PROBLEMS = 20  # of a header, as many as a person reads
Check = Callable[[], None]
# `_RowLines` bounds the row before a cell can be too long: csv itself would go on inside the cell.
csv.field_size_limit(MAX_ROW + 1)


@dataclass(frozen=True)
class Bounds:
    """How much of a file from a stranger is read.

    Attributes:
        unpacked: bytes of its table; the whole of a ZIP may have twice as many.
        rows: rows of its table, empty lines among them; it may have ten times as many lines.
    """

    unpacked: int
    rows: int = MAX_ROWS


UNBOUNDED = Bounds(sys.maxsize, sys.maxsize)


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


# What a reader yields for each row: JSON is not parsed yet; None is a line without a row.
_Record = Row | BadRow | tuple[int, str]
_Reader = Callable[[TextIO], Iterator[_Record | None]]


def go_on() -> None:
    """Go on: the default check."""


class Table:
    """A CSV or JSONL file that can be read several times."""

    def __init__(
        self,
        open_bytes: Callable[[], IO[bytes]],
        kind: str,
        name: str,
        *,
        encoding: str | None = None,
        bounds: Bounds = UNBOUNDED,
    ) -> None:
        """Find out the encoding where it is not given, for which the whole file is read.

        Args:
            open_bytes: opens the file from its start.
            kind: ".csv" or ".jsonl".
            name: what messages call the file.
            encoding: the `encoding` that was found of the same file before.
            bounds: how much is read.

        Raises:
            ImportEncodingUnknown: the file is neither UTF-8 nor GB18030.
            ImportTooManyRows, ZipTooLarge: the file has more than is read.
        """
        self._open = open_bytes
        self._name = name
        self._bounds = bounds
        readers: dict[str, _Reader] = {".csv": _read_csv, ".jsonl": _read_jsonl}
        self._read = readers[kind]
        self.encoding = encoding or self._find_encoding()

    def check_header(self) -> None:
        """Raise ImportHeaderInvalid where the table is a CSV with a wrong header."""
        if self._read is _read_csv:
            with self._open_text(go_on) as stream:
                _read_header(csv.reader(_RowLines(stream), strict=True))

    def count_rows(self, check: Check = go_on) -> int:
        """Return how many rows `rows` yields, in less time. Raises as `rows`."""
        return sum(1 for _ in self._records(check))

    def rows(self, check: Check = go_on) -> Iterator[Row | BadRow]:
        """Yield every row, in order.

        Args:
            check: called now and then, at lines without a row too; raises where to stop.

        Raises:
            ImportHeaderInvalid: before the first row.
            ImportTooManyRows, ZipTooLarge: behind the last row that is read.
            ImportEncodingUnknown: the file is not in the encoding that was given.
        """
        for record in self._records(check):
            yield _parse_json(*record) if isinstance(record, tuple) else record

    def _records(self, check: Check) -> Iterator[_Record]:
        with self._open_text(check) as stream:
            try:
                for number, record in enumerate(self._read(stream)):
                    if number == self._bounds.rows:
                        raise self._too_many_rows()
                    if record is not None:
                        yield record
            except UnicodeDecodeError as error:
                raise self._encoding_unknown() from error

    def _open_bytes(self, check: Check) -> BufferedReader:
        return BufferedReader(_Meter(self._open(), self._bounds.unpacked, check), _BLOCK)

    def _open_text(self, check: Check) -> TextIOWrapper:
        return TextIOWrapper(self._open_bytes(check), encoding=self.encoding, newline="")

    def _find_encoding(self) -> str:
        for encoding in _ENCODINGS:
            decoder = codecs.getincrementaldecoder(encoding)()
            try:
                for block in self._blocks():
                    decoder.decode(block)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                continue
            return encoding
        raise self._encoding_unknown()

    def _blocks(self) -> Iterator[bytes]:
        """Yield the file's bytes. Raises ImportTooManyRows: to count lines here costs little."""
        feeds = returns = 0
        with self._open_bytes(go_on) as stream:
            while block := stream.read(_BLOCK):
                feeds += block.count(b"\n")
                returns += block.count(b"\r")
                if max(feeds, returns) > _LINES_A_ROW * self._bounds.rows:
                    raise self._too_many_rows()
                yield block

    def _too_many_rows(self) -> ImportTooManyRows:
        count = f"{self._bounds.rows:,}"
        return ImportTooManyRows(
            f"{self._name}：行数过多，最多 {count} 行（空行也算），请分几次导入"
        )

    def _encoding_unknown(self) -> ImportEncodingUnknown:
        return ImportEncodingUnknown(f"{self._name}：既不是 UTF-8 也不是 GB18030 编码")


class _Meter(RawIOBase):
    """Bytes that are counted as they come, whatever a ZIP says of them; each block is a check."""

    def __init__(self, stream: IO[bytes], limit: int, check: Check) -> None:
        self._stream = stream
        self._limit = limit
        self._read = 0
        self._check = check

    def readable(self) -> bool:
        """Return True: BufferedReader asks."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer, or less of it; 0 at the end. Raises ZipTooLarge, and as the check."""
        self._check()
        block = self._stream.read(len(buffer))
        self._read += len(block)
        if self._read > self._limit:
            raise ZipTooLarge(f"商品表解压后过大：最多 {self._limit} 字节")
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        """Close the stream too."""
        self._stream.close()
        super().close()


class _RowTooLong(Exception):
    """The row is longer than MAX_ROW, and was not read to its end."""


class _RowLines:
    """Lines of a text as csv takes them; raises _RowTooLong at a row of over MAX_ROW."""

    def __init__(self, stream: TextIO) -> None:
        self._readline = stream.readline
        self._length = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._readline(MAX_ROW + 1)
        if not line:
            raise StopIteration
        self._length += len(line)
        if self._length > MAX_ROW:
            raise _RowTooLong
        return line

    def begin_row(self) -> None:
        """Count from here: the lines before belong to other rows."""
        self._length = 0


def _read_csv(stream: TextIO) -> Iterator[Row | BadRow | None]:
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
        else:
            yield _row_of(line, header, cells)


def _row_of(line: int, header: list[str], cells: list[str]) -> Row | BadRow | None:
    if not cells:
        return None  # an empty line is no row
    if len(cells) != len(header):
        return BadRow(line, f"有 {len(cells)} 列，表头有 {len(header)} 列")
    # CSV knows no null: an empty cell is one.
    return Row(line, {name: cell or None for name, cell in zip(header, cells, strict=True)})


def _read_header(reader: Iterator[list[str]]) -> list[str]:
    try:
        header = next(reader, [])
    except (csv.Error, _RowTooLong) as error:
        raise ImportHeaderInvalid(f"第 1 行不是有效的 CSV：{error or '过长'}") from error
    unknown = (name for name in header if name not in COLUMNS)
    problems = [f"未知列 {name[:100]!r}" for name in islice(unknown, _PROBLEMS)]
    problems += [f"重复的列 {name!r}" for name in COLUMNS if header.count(name) > 1]
    problems += [f"缺少列 {name!r}" for name in ("sku", "title") if name not in header]
    if problems:
        shown = "；".join(problems[:_PROBLEMS])
        raise ImportHeaderInvalid(f"表头有误：{shown}。可用的列：{', '.join(COLUMNS)}")
    return header


def _read_jsonl(stream: TextIO) -> Iterator[tuple[int, str] | BadRow | None]:
    number = 0
    while text := stream.readline(MAX_ROW):
        number += 1
        if len(text) == MAX_ROW and not _ends(text):
            _skip_line(stream)
            yield BadRow(number, f"过长（超过 {MAX_ROW} 个字符）")
        else:
            yield (number, text) if text.strip() else None


def _ends(text: str) -> bool:
    return text.endswith(("\n", "\r"))


def _skip_line(stream: TextIO) -> None:
    while (text := stream.readline(MAX_ROW)) and not _ends(text):
        pass


def _parse_json(line: int, text: str) -> Row | BadRow:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return BadRow(line, "不是有效的 JSON")
    return Row(line, values) if isinstance(values, dict) else BadRow(line, "应为 JSON 对象")
