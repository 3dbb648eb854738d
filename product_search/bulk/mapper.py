"""Rows of an import mapped to product columns: validated, their images stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from data_models import ProductCreate
from product_search.bulk.sources import Source
from product_search.bulk.tables import IMAGE_COLUMN, BadRow, Row
from product_search.catalog.products import Catalog
from product_search.errors import (
    AppError,
    DatabaseUnavailable,
    InvalidRequest,
    StorageUnavailable,
)
from product_search.images.decoding import image_warnings
from product_search.schemas.validation import invalid_request


@dataclass(frozen=True)
class ProductRow:
    """A valid row: columns of the product by name, its image stored."""

    line: int
    columns: Mapping[str, Any]
    warnings: Sequence[str] = ()


class RowMapper:
    """Maps the rows of one file, in which no two rows may have the same sku."""

    def __init__(self, catalog: Catalog, source: Source) -> None:
        """Read images from the source, and store them in the catalog."""
        self._catalog = catalog
        self._source = source
        self._lines_by_sku: dict[str, int] = {}

    def map(self, row: Row | BadRow) -> ProductRow | BadRow:
        """Validate the row and store its image; return what is wrong with it where it is bad.

        Raises:
            DatabaseUnavailable, StorageUnavailable: a store is down, which is no fault of the row.
        """
        if isinstance(row, BadRow):
            return row
        try:
            columns, warnings = self._map(row)
        except (DatabaseUnavailable, StorageUnavailable):
            raise
        except AppError as error:
            return BadRow(row.line, error.message)
        self._lines_by_sku[columns["sku"]] = row.line
        return ProductRow(row.line, columns, warnings)

    def skip(self, row: Row) -> None:
        """Take a good row as mapped, without its image: the catalog has it already."""
        self._lines_by_sku[row.values["sku"]] = row.line

    def _map(self, row: Row) -> tuple[dict[str, Any], list[str]]:
        columns = _validate(row)
        sku = columns["sku"]
        if sku in self._lines_by_sku:
            raise InvalidRequest(f"sku {sku!r} 与第 {self._lines_by_sku[sku]} 行重复")
        if IMAGE_COLUMN not in row.values:
            return columns, []
        image = self._read_image(row.values[IMAGE_COLUMN])
        columns |= self._catalog.keep_image(image)
        return columns, [] if image is None else image_warnings(image)

    def _read_image(self, image_path: object) -> bytes | None:
        if image_path is None or image_path == "":
            return None
        if not isinstance(image_path, str) or "\0" in image_path:
            raise InvalidRequest("image_path：应为文件路径")
        return self._source.read_image(image_path)


def is_valid(row: Row) -> bool:
    """Tell whether the row's columns, the image's excepted, are those of a product."""
    try:
        _validate(row)
    except InvalidRequest:
        return False
    return True


def _validate(row: Row) -> dict[str, Any]:
    """Return the product's columns, the image's excepted. Raises InvalidRequest."""
    values = {name: value for name, value in row.values.items() if name != IMAGE_COLUMN}
    if "attributes" in values:
        values["attributes"] = _parse_attributes(values["attributes"])
    for name in ("image_base64", "image_url", "generation"):
        if name in values:
            raise InvalidRequest(f"{name}：未知字段；导入用 image_path")
    try:
        product = ProductCreate.model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(_reasons(invalid_request(error.errors()))) from error
    if product.sku is None:
        raise InvalidRequest("sku：不能为空，导入凭它认出同一商品")
    return product.model_dump(include=set(values))


def _parse_attributes(value: object) -> object:
    if value is None:
        return {}
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("attributes：不是有效的 JSON") from error


def _reasons(error: InvalidRequest) -> str:
    fields = (error.fields or {}).items()
    return "；".join(f"{name}：{reason}" for name, reason in fields) or error.message
