"""Files to import: their columns, their first rows, and the same file with columns renamed.

The API takes tables whose columns bear its fields' names. Here the columns of a file are read,
matched with fields, and renamed; a row keeps its line, so that the API's bad rows are the file's.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import IO, Any, TextIO

from product_search.demo.language import _
from product_search.demo.tables import (
    MAX_IMAGE,
    MAX_ROWS,
    MAX_UNPACKED,
    TABLES,
    ZIP_ERRORS,
    CsvRow,
    FileUnreadable,
    Opener,
    bounded_lines,
    csv_rows,
    entries_of,
    find_delimiter,
    find_encoding,
    open_table_of,
    open_text,
    read_start,
    suffix_of,
    too_many_rows,
    unzipped,
)

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
MAX_COLUMNS = 1000
_SHOWN = 5
_LOOKED_AT = 100_000  # rows from the start, for the columns and those that are shown


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
        return suffix_of(self.name) == ".zip"

    @property
    def guess(self) -> dict[str, int]:
        """Return the mapping that the columns' names suggest; only a ZIP can hold images."""
        found = guess_columns(self.columns)
        if not self.is_zip:
            found.pop(IMAGE, None)
        return found


def read_file(name: str, content: bytes) -> ImportFile:
    """Read the columns and first rows of a file; a JSONL's columns are those of its first rows.

    Raises:
        FileUnreadable: Where the file is no table in a known encoding, no ZIP with one table, or
            has more than the API reads.
    """
    if suffix_of(name) not in (*TABLES, ".zip"):
        raise FileUnreadable(_("只支持 CSV、JSONL 和 ZIP 文件。"))
    with open_table_of(name, content) as (table, open_table):
        encoding = find_encoding(open_table)
        start = read_start(open_table, encoding)
    delimiter = ","
    if suffix_of(table) == ".csv":
        delimiter = find_delimiter(start)
        columns, rows = _csv_start(start, delimiter)
    else:
        columns, rows = _jsonl_start(start)
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


@contextmanager
def open_renamed(file: ImportFile, mapping: ColumnMapping) -> Iterator[IO[bytes]]:
    """Open the file as the API takes it: the chosen columns under its fields' names.

    Raises:
        FileUnreadable: Where a ZIP is damaged, or the file has more than the API reads.
    """
    if _is_named_already(file, mapping):
        yield io.BytesIO(file.content)
        return
    with tempfile.TemporaryFile() as renamed:
        try:
            if file.is_zip:
                _rename_zip(file, mapping, renamed)
            else:
                _rename_table(file, partial(io.BytesIO, file.content), mapping, renamed)
            renamed.seek(0)
        except OSError as error:  # nothing is read from a disk
            raise FileUnreadable(_("网页所在的机器暂时存不下这个文件，请稍后重试。")) from error
        yield renamed


def _is_named_already(file: ImportFile, mapping: ColumnMapping) -> bool:
    named = {column: place for place, column in enumerate(file.columns)}
    return file.delimiter == "," and len(named) == len(file.columns) and named == dict(mapping)


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


# CSV


def _csv_start(start: str, delimiter: str) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    rows = csv_rows(io.StringIO(start, newline=""), delimiter)
    header = next(rows, CsvRow([], ())).cells
    if header is None:
        raise FileUnreadable(_("第 1 行不是有效的 CSV。"))
    if len(header) > MAX_COLUMNS:
        raise FileUnreadable(_("列过多：最多 {count} 列。").format(count=MAX_COLUMNS))
    looked_at = islice(rows, _LOOKED_AT)
    whole = (tuple(row.cells) for row in looked_at if row.cells and len(row.cells) == len(header))
    return tuple(header), tuple(islice(whole, _SHOWN))


def _rename_csv(file: ImportFile, stream: TextIO, mapping: ColumnMapping) -> Iterator[str]:
    rows = csv_rows(stream, file.delimiter)
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


def _csv_lines(cells: Sequence[str], row: CsvRow) -> str:
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


def _jsonl_start(start: str) -> tuple[tuple[str, ...], tuple[tuple[Any, ...], ...]]:
    """Look at many rows: any may be the first with some column."""
    names: dict[str, None] = {}
    first: list[dict[str, Any]] = []
    for line in islice(io.StringIO(start, newline=""), _LOOKED_AT):
        row = _json_object(line)
        if row is None:
            continue
        if len(first) < _SHOWN:
            first.append(row)
        if len(names) < MAX_COLUMNS:
            names |= dict.fromkeys(row)
    columns = tuple(names)[:MAX_COLUMNS]
    return columns, tuple(tuple(row.get(name) for name in columns) for row in first)


def _rename_jsonl(file: ImportFile, stream: TextIO, mapping: ColumnMapping) -> Iterator[str]:
    names = {name: file.columns[place] for name, place in mapping.items()}
    for line in bounded_lines(stream):
        row = _json_object(line)
        if row is None:
            yield line  # empty, or for the API to refuse
        else:
            chosen = {name: row[theirs] for name, theirs in names.items() if theirs in row}
            yield json.dumps(chosen) + "\n"


def _rename_table(
    file: ImportFile, open_table: Opener, mapping: ColumnMapping, target: IO[bytes]
) -> None:
    rename = _rename_csv if suffix_of(file.table) == ".csv" else _rename_jsonl
    with open_text(open_table(), file.encoding) as stream:
        written = io.TextIOWrapper(target, encoding="utf-8", newline="")
        written.writelines(_bounded(rename(file, stream, mapping)))
        written.detach()


def _bounded(rows: Iterable[str]) -> Iterator[str]:
    for number, row in enumerate(rows):
        if number > MAX_ROWS:  # the header is none
            raise too_many_rows()
        yield row


# ZIP


def _rename_zip(file: ImportFile, mapping: ColumnMapping, target: IO[bytes]) -> None:
    """Pack the ZIP anew with its table renamed; images don't get smaller, so they are stored."""
    with unzipped(file.content) as archive, zipfile.ZipFile(target, "w") as fresh:
        entries = entries_of(archive)
        if sum(entry.file_size for entry in entries.values()) > MAX_UNPACKED:
            large = _("ZIP 过大，无法在这里对应列：请把表头改为 {names} 后再上传。")
            raise FileUnreadable(large.format(names=", ".join(FIELDS)))
        for name, entry in entries.items():
            # Without a damaged image: the API says so of its row, and takes the others.
            with suppress(*ZIP_ERRORS):
                if name != file.table:
                    fresh.writestr(name, _image(archive, entry))
        table = zipfile.ZipInfo(file.table)
        table.compress_type = zipfile.ZIP_DEFLATED
        with fresh.open(table, "w", force_zip64=True) as renamed:
            _rename_table(file, partial(archive.open, entries[file.table]), mapping, renamed)


def _image(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return the image, or enough of it for the API to find it too large."""
    with archive.open(entry) as stream:
        return stream.read(MAX_IMAGE + 1)
