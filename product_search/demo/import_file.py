"""Files to import: their columns, their first rows, and the same file with columns renamed.

The API takes tables whose columns bear its fields' names. Here the columns of a file are read,
matched with fields, and renamed; a row keeps its line, so that the API's bad rows are the file's.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from product_search.demo.language import _

FILE_TYPES = ["csv", "jsonl", "zip"]
REQUIRED = ("sku", "title")
IMAGE = "image_path"
# The names that files give to our fields, besides our own; compared as `_folded` has them.
ALIASES = {
    "sku": "商家编号 商品编号 商品编码 编号 编码 货号 款号 商品id item_no product_code code id",
    "title": "标题 商品标题 商品名称 商品名 名称 品名 name product_name product_title",
    "description": "描述 商品描述 详情 商品详情 说明 简介 desc details",
    "category": "分类 类别 类目 品类 商品分类 cat product_category",
    "brand": "品牌 牌子 品牌名称 brand_name",
    "price": "价格 售价 单价 销售价 现价 unit_price sale_price",
    "attributes": "属性 商品属性 规格参数 参数 attrs attribute properties",
    "group": "商品组 SPU SPU编码 SPU编号 款号 款式编号 item_group_id product_group parent_sku",
    IMAGE: "图片 图片路径 图片文件 图片名 主图 商品图片 image picture photo img image_file",
}
FIELDS = tuple(ALIASES)
ColumnMapping = Mapping[str, int]  # by field, the place of the column that it is taken from
_TABLES = (".csv", ".jsonl")
_ENCODINGS = ("utf-8-sig", "gb18030")
_DELIMITERS = (",", "\t", ";", "|")
_SHOWN = 5
_MAX_COLUMNS = 200
# As the API has it: a longer row is refused there, with its reason.
_MAX_ROW = 4_000_000
# A ZIP is packed anew in memory.
_MAX_UNPACKED = 512 * 1024 * 1024
_NAME_IS_UTF_8 = 0x800
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
csv.field_size_limit(_MAX_ROW + 1)


class FileUnreadable(Exception):
    """Error of a file that can't be imported; the message says why to the visitor."""


@dataclass(frozen=True)
class ImportFile:
    """Chosen file: its columns, and the cells of its first rows by column."""

    name: str
    content: bytes = field(repr=False)
    table: str  # the table's own name, in the ZIP where it is in one
    encoding: str
    delimiter: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @property
    def is_zip(self) -> bool:
        """Tell whether the file can hold images."""
        return _suffix(self.name) == ".zip"

    @property
    def guess(self) -> dict[str, int]:
        """Return the mapping that the columns' names suggest; only a ZIP can hold images."""
        found = guess_columns(self.columns)
        if not self.is_zip:
            found.pop(IMAGE, None)
        return found


def read_file(name: str, content: bytes) -> ImportFile:
    """Read the columns and first rows of a file.

    Raises:
        FileUnreadable: Where the file is no table in a known encoding, or no ZIP with one table.
    """
    kind = _suffix(name)
    if kind not in (*_TABLES, ".zip"):
        raise FileUnreadable(_("只支持 CSV、JSONL 和 ZIP 文件。"))
    table, raw = _table_of(content) if kind == ".zip" else (name, content)
    encoding = _encoding(raw)
    delimiter = ","
    if _suffix(table) == ".csv":
        delimiter = _delimiter(raw, encoding)
        columns, rows = _csv_start(raw, encoding, delimiter)
    else:
        columns, rows = _jsonl_start(raw, encoding)
    if not columns:
        raise FileUnreadable(_("文件里没有列：第一行应为表头，JSONL 的每一行应为一个 JSON 对象。"))
    return ImportFile(name, content, table, encoding, delimiter, columns, rows)


def guess_columns(columns: Sequence[str]) -> dict[str, int]:
    """Map each field to the first column whose name means it; a column goes to one field."""
    folded = [_folded(column) for column in columns]
    found: dict[str, int] = {}
    for name, aliases in ALIASES.items():
        for known in map(_folded, (name, *aliases.split())):
            if known in folded and folded.index(known) not in found.values():
                found[name] = folded.index(known)
                break
    return found


def missing_fields(mapping: ColumnMapping) -> list[str]:
    """Return the required fields that no column is taken for."""
    return [name for name in REQUIRED if name not in mapping]


def rename_columns(file: ImportFile, mapping: ColumnMapping) -> bytes:
    """Return the file as the API takes it: the chosen columns under its fields' names.

    Raises:
        FileUnreadable: Where a ZIP is damaged, or too large to be packed anew.
    """
    if _is_named_already(file, mapping):
        return file.content
    if not file.is_zip:
        return _rename_table(file, file.content, mapping)
    return _rename_zip(file, mapping)


def _is_named_already(file: ImportFile, mapping: ColumnMapping) -> bool:
    named = {column: place for place, column in enumerate(file.columns)}
    return file.delimiter == "," and len(named) == len(file.columns) and named == dict(mapping)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _encoding(raw: bytes) -> str:
    for encoding in _ENCODINGS:
        try:
            raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    raise FileUnreadable(_("文件既不是 UTF-8 也不是 GB18030 编码：请另存为其中一种再上传。"))


def _text(raw: bytes, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(raw), encoding=encoding, newline="")


# CSV


@dataclass(frozen=True)
class _Row:
    """Row of a CSV: its cells ([]: an empty line; None: no CSV), and the lines that it takes."""

    cells: list[str] | None
    lines: tuple[str, ...]


def _csv_rows(raw: bytes, encoding: str, delimiter: str) -> Iterator[_Row]:
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in _text(raw, encoding):
            taken.append(line)
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        taken.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield _Row(None, tuple(taken))
        else:
            yield _Row(cells, tuple(taken))


def _delimiter(raw: bytes, encoding: str) -> str:
    """Return the delimiter that makes the most columns of the header; a comma where none does."""
    header = _text(raw, encoding).readline(_MAX_ROW)
    counts = {one: len(next(csv.reader([header], delimiter=one), [])) for one in _DELIMITERS}
    return max(_DELIMITERS, key=counts.__getitem__)


def _csv_start(
    raw: bytes, encoding: str, delimiter: str
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    rows = _csv_rows(raw, encoding, delimiter)
    header = next(rows, _Row([], ())).cells
    if header is None:
        raise FileUnreadable(_("第 1 行不是有效的 CSV。"))
    whole = (tuple(row.cells) for row in rows if row.cells and len(row.cells) == len(header))
    return tuple(header), tuple(itertools.islice(whole, _SHOWN))


def _rename_csv(file: ImportFile, raw: bytes, mapping: ColumnMapping) -> Iterator[str]:
    rows = _csv_rows(raw, file.encoding, file.delimiter)
    yield _csv_lines(list(mapping), next(rows))
    for row in rows:
        if row.cells is None:
            yield "".join(row.lines)  # for the API to refuse
            continue
        cells = row.cells
        if len(cells) == len(file.columns):
            cells = [cells[place] for place in mapping.values()]
        elif cells:  # as many too few or too many as before, for the API to refuse
            cells = [""] * max(1, len(mapping) + len(cells) - len(file.columns))
        yield _csv_lines(cells, row)


def _csv_lines(cells: Sequence[str], row: _Row) -> str:
    """Return the cells as CSV on as many lines as the row: cells left out may have held several."""
    written = io.StringIO(newline="")
    csv.writer(written).writerow(cells)
    written.seek(0)
    left = len(row.lines) - sum(1 for _line in written)
    return written.getvalue() + "\r\n" * left


# JSON Lines


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _jsonl_start(raw: bytes, encoding: str) -> tuple[tuple[str, ...], tuple[tuple[Any, ...], ...]]:
    """Read all rows: any may be the first with some column."""
    names: dict[str, None] = {}
    first: list[dict[str, Any]] = []
    for line in _text(raw, encoding):
        row = _json_object(line)
        if row is None:
            continue
        if len(first) < _SHOWN:
            first.append(row)
        if len(names) < _MAX_COLUMNS:
            names |= dict.fromkeys(row)
    columns = tuple(names)[:_MAX_COLUMNS]
    return columns, tuple(tuple(row.get(name) for name in columns) for row in first)


def _rename_jsonl(file: ImportFile, raw: bytes, mapping: ColumnMapping) -> Iterator[str]:
    names = {name: file.columns[place] for name, place in mapping.items()}
    for line in _text(raw, file.encoding):
        row = _json_object(line)
        if row is None:
            yield line  # empty, or for the API to refuse
        else:
            chosen = {name: row[theirs] for name, theirs in names.items() if theirs in row}
            yield json.dumps(chosen) + "\n"


def _rename_table(file: ImportFile, raw: bytes, mapping: ColumnMapping) -> bytes:
    lines = _rename_csv if _suffix(file.table) == ".csv" else _rename_jsonl
    return "".join(lines(file, raw, mapping)).encode()


# ZIP


def _table_of(content: bytes) -> tuple[str, bytes]:
    """Return the name and the bytes of the one table in a ZIP."""
    with _unzipped(content) as archive:
        entries = _entries(archive)
        tables = [name for name in entries if _is_table(name)]
        if len(tables) != 1:
            many = _("ZIP 内应有且只有一个商品表（.csv 或 .jsonl），现有 {count} 个。")
            raise FileUnreadable(many.format(count=len(tables)))
        entry = entries[tables[0]]
        if entry.file_size > _MAX_UNPACKED:
            raise FileUnreadable(_("ZIP 内的商品表过大。"))
        return tables[0], archive.read(entry)


def _rename_zip(file: ImportFile, mapping: ColumnMapping) -> bytes:
    """Pack the ZIP anew with its table renamed; images don't get smaller, so they are stored."""
    packed = io.BytesIO()
    with _unzipped(file.content) as archive, zipfile.ZipFile(packed, "w") as fresh:
        entries = _entries(archive)
        if sum(entry.file_size for entry in entries.values()) > _MAX_UNPACKED:
            large = _("ZIP 过大，无法在这里对应列：请把表头改为 {names} 后再上传。")
            raise FileUnreadable(large.format(names=", ".join(FIELDS)))
        for name, entry in entries.items():
            # Without a damaged image: the API says so of its row, and takes the others.
            with suppress(*_ZIP_ERRORS):
                if name != file.table:
                    fresh.writestr(name, archive.read(entry))
        table = _rename_table(file, archive.read(entries[file.table]), mapping)
        fresh.writestr(file.table, table, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


@contextmanager
def _unzipped(content: bytes) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield archive
    except _ZIP_ERRORS as error:
        raise FileUnreadable(_("ZIP 打不开：它已损坏、不完整或有密码。")) from error


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of the ZIP by the names that were meant."""
    return {_name(entry): entry for entry in archive.infolist() if not entry.is_dir()}


def _name(entry: zipfile.ZipInfo) -> str:
    """Return the name that was meant: unmarked names are read as cp437; Windows writes GB18030."""
    if not entry.flag_bits & _NAME_IS_UTF_8:
        for encoding in ("utf-8", "gb18030"):
            with suppress(UnicodeError):
                return entry.filename.encode("cp437").decode(encoding)
    return entry.filename


def _is_table(name: str) -> bool:
    """Tell whether the file is a table and not hidden: macOS adds a hidden twin of every file."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    return _suffix(name) in _TABLES and not hidden
