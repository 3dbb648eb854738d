"""Bulk import: a CSV or JSONL file read row by row, validated, and upserted by sku in batches."""

from __future__ import annotations

import codecs
import csv
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from data_models import ProductCreate
from orm_models import Product
from product_search.catalog import Catalog, Outcome, change_product, insert_product
from product_search.errors import (
    AppError,
    DatabaseUnavailable,
    InvalidRequest,
    OutboxFull,
    StorageUnavailable,
    invalid_request,
)
from product_search.images import MAX_BYTES

log = logging.getLogger(__name__)

BATCH_SIZE = 200
IMAGE_COLUMN = "image_path"
COLUMNS = ("sku", "title", "description", "category", "brand", "price", "attributes", IMAGE_COLUMN)


# Longer cells are the validation's to refuse: csv itself would go on in the middle of the cell.
csv.field_size_limit(1_000_000_000)


class ImportFileError(Exception):
    """The file as a whole can't be imported; the message says why and what is expected."""


@dataclass(frozen=True)
class Row:
    """A row as read: its first line in the file (from 1) and the columns that it gives."""

    line: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that was left out, and why."""

    line: int
    reason: str


@dataclass
class Report:
    """What an import did."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    bad_rows: list[BadRow] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """All rows seen."""
        return self.created + self.updated + self.unchanged + len(self.bad_rows)

    def count(self, outcome: Outcome) -> None:
        """Add one row that went in."""
        setattr(self, outcome, getattr(self, outcome) + 1)


@dataclass(frozen=True)
class _ReadyRow:
    """A validated row: product columns by name, its picture kept."""

    line: int
    columns: Mapping[str, Any]


def import_file(
    catalog: Catalog, path: Path, images: Path, on_rows: Callable[[int], object]
) -> Report:
    """Upsert every good row; bad rows are reported and the rest goes in.

    `images` is the folder that `image_path` is relative to. `on_rows` is told after each batch
    how many more rows are through.

    Raises:
        ImportFileError: unknown file type, encoding or columns; nothing was written.
        DatabaseUnavailable, OutcomeUnknown, StorageUnavailable: the batches before are in.
    """
    report = Report()
    lines_by_sku: dict[str, int] = {}
    rows = read_rows(path)
    while batch := list(islice(rows, BATCH_SIZE)):
        ready = []
        for row in batch:
            try:
                ready.append(_prepare(row, catalog, images, lines_by_sku))
            except (DatabaseUnavailable, StorageUnavailable):
                raise  # no fault of the row's
            except AppError as error:
                report.bad_rows.append(BadRow(row.line, error.message))
        _wait_for_room(catalog, len(ready))
        _write_whole_or_singly(catalog, ready, report)
        catalog.on_commit()
        on_rows(len(batch))
    return report


def _wait_for_room(catalog: Catalog, rows: int) -> None:
    """An import has time: it goes on once enough of the index work that waits is done."""
    while True:
        try:
            return catalog.admit(rows)
        except OutboxFull as error:
            log.info("%s：导入暂停 %d 秒", error, error.retry_after_s)
            time.sleep(error.retry_after_s or 1)


def count_rows(path: Path) -> int:
    """How many rows the file has. Raises ImportFileError."""
    return sum(1 for _ in read_rows(path))


def read_rows(path: Path) -> Iterator[Row | BadRow]:
    """The rows of a .csv (UTF-8, or the GB18030 that Excel writes) or .jsonl file."""
    readers: dict[str, Callable[[TextIO], Iterator[Row | BadRow]]] = {
        ".csv": _read_csv,
        ".jsonl": _read_jsonl,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ImportFileError(f"{path.name}：只支持 {' 与 '.join(readers)} 文件")
    if not path.is_file():
        raise ImportFileError(f"{path}：文件不存在")
    with path.open(encoding=_encoding(path), newline="") as stream:
        yield from reader(stream)


def _encoding(path: Path) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            with path.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    decoder.decode(chunk)
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return encoding
    raise ImportFileError(f"{path.name}：既不是 UTF-8 也不是 GB18030 编码")


def _read_csv(stream: TextIO) -> Iterator[Row | BadRow]:
    reader = csv.reader(stream, strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise ImportFileError(f"第 1 行不是有效的 CSV：{error}") from error
    _check_header(header)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
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


def _check_header(header: list[str]) -> None:
    problems = [f"未知列 {name!r}" for name in header if name not in COLUMNS]
    problems += [f"重复的列 {name!r}" for name in sorted(set(header)) if header.count(name) > 1]
    problems += [f"缺少列 {name!r}" for name in ("sku", "title") if name not in header]
    if problems:
        raise ImportFileError(f"表头有误：{'；'.join(problems)}。可用的列：{', '.join(COLUMNS)}")


def _read_jsonl(stream: TextIO) -> Iterator[Row | BadRow]:
    for line, text in enumerate(stream, start=1):
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            yield BadRow(line, "不是有效的 JSON")
            continue
        if isinstance(values, dict):
            yield Row(line, values)
        else:
            yield BadRow(line, "应为 JSON 对象")


def _prepare(
    row: Row | BadRow, catalog: Catalog, images: Path, lines_by_sku: dict[str, int]
) -> _ReadyRow:
    """Validate the row and keep its picture. Raises AppError, its message the reason."""
    if isinstance(row, BadRow):
        raise InvalidRequest(row.reason)
    values = {name: value for name, value in row.values.items() if name != IMAGE_COLUMN}
    if "attributes" in values:
        values["attributes"] = _attributes(values["attributes"])
    columns = _validated(values)
    sku = columns["sku"]
    if sku in lines_by_sku:
        raise InvalidRequest(f"sku {sku!r} 与第 {lines_by_sku[sku]} 行重复")
    if IMAGE_COLUMN in row.values:
        content = _read_image(row.values[IMAGE_COLUMN], images)
        columns["image_hash"] = catalog.keep_picture(content)
    lines_by_sku[sku] = row.line
    return _ReadyRow(row.line, columns)


def _attributes(value: object) -> object:
    if value is None:
        return {}
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("attributes：不是有效的 JSON") from error


def _validated(values: Mapping[str, Any]) -> dict[str, Any]:
    if "image_base64" in values:
        raise InvalidRequest("image_base64：未知字段；导入用 image_path")
    try:
        product = ProductCreate.model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(_reasons(invalid_request(error.errors()))) from error
    if product.sku is None:
        raise InvalidRequest("sku：不能为空，导入凭它认出同一商品")
    return product.model_dump(include=set(values))


def _reasons(error: InvalidRequest) -> str:
    fields = (error.fields or {}).items()
    return "；".join(f"{name}：{reason}" for name, reason in fields) or error.message


def _read_image(image_path: object, folder: Path) -> bytes | None:
    if image_path is None or image_path == "":
        return None
    if not isinstance(image_path, str) or "\0" in image_path:
        raise InvalidRequest("image_path：应为文件路径")
    root = folder.resolve()
    try:
        path = (root / image_path).resolve()
        if not path.is_relative_to(root):
            raise InvalidRequest(f"image_path：{image_path!r} 在图片目录之外")
        if not path.is_file():  # opening a pipe would wait for its writer
            raise InvalidRequest(f"image_path：没有文件 {image_path!r}")
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)  # one byte too many is refused by its size
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links is a RuntimeError
        raise InvalidRequest(f"image_path：无法读取 {image_path!r}") from error


def _write_whole_or_singly(catalog: Catalog, rows: list[_ReadyRow], report: Report) -> None:
    """The batch in one transaction; row by row where a request took one of its skus meanwhile."""
    try:
        outcomes = _write(catalog, rows)
    except IntegrityError as error:
        if len(rows) == 1:
            log.warning("line %d: %s", rows[0].line, error)
            report.bad_rows.append(BadRow(rows[0].line, "sku：与另一个商品冲突，请再试一次"))
            return
        for row in rows:
            _write_whole_or_singly(catalog, [row], report)
        return
    for outcome in outcomes:
        report.count(outcome)


def _write(catalog: Catalog, rows: Iterable[_ReadyRow]) -> list[Outcome]:
    """One transaction for the batch."""
    rows = list(rows)
    skus = [row.columns["sku"] for row in rows]

    def write(session: Session) -> list[Outcome]:
        outcomes: list[Outcome] = []
        found = session.scalars(select(Product).where(Product.sku.in_(skus)).with_for_update())
        products = {product.sku: product for product in found}
        for row in rows:
            product = products.get(row.columns["sku"])
            if product is None:
                insert_product(session, row.columns)
                outcomes.append("created")
            else:
                outcomes.append(change_product(session, product, row.columns))
        return outcomes

    return catalog.database.write(write)
