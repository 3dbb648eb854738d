"""The shape of a collection: its fields, entities as rows, filters as expressions."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import CollectionSchema, DataType, MilvusClient

from data_models import PriceRange, SearchFilters, VectorField

# Raised when the schema below changes: a new version is a new collection, filled afresh.
SCHEMA_VERSION = 1
# A server refuses messages over 64 MB; smaller ones also hold up other requests less.
MESSAGE_BYTES = 16 * 1024 * 1024
DELETE_KEYS = 10_000
# A server counts max_length in bytes: four for each character that the API allows, which is also
# the length of an escaped control character.
TEXT_BYTES = {
    "title": 2000,
    "image_path": 200,
    "category": 400,
    "brand": 400,
    "encoder_fingerprint": 64,
}
STATE_FIELDS = [
    "primary_key",
    "product_id",
    "revision",
    "encoder_fingerprint",
    "has_image",
    "image_path",
]
_NO_PRICE = -1
_ROW_OVERHEAD = 200  # bytes: the numbers, and what the message wraps around the fields
Vector = NDArray[np.float32]
Row = dict[str, Any]


@dataclass(frozen=True)
class Entity:
    """What Milvus holds of a product: three vectors, and the scalars that filters read."""

    milvus_id: int
    product_id: int
    revision: int
    title: str
    category: str | None
    brand: str | None
    price: Decimal | None
    image_path: str | None
    image_clip_vector: Vector | None
    text_clip_vector: Vector
    text_bge_vector: Vector


@dataclass(frozen=True)
class EntityState:
    """What tells whether an entity is that of its product's current revision."""

    milvus_id: int
    product_id: int
    revision: int
    encoder_fingerprint: str
    has_image: bool
    image_path: str | None


def collection_name(fingerprint: str) -> str:
    """The collection for this encoder pair and this schema."""
    return f"product_v{SCHEMA_VERSION}_{fingerprint}"


def collection_schema(dims: Mapping[VectorField, int]) -> CollectionSchema:
    """The fields of a collection with these vectors."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("primary_key", DataType.INT64, is_primary=True)
    for field, dim in dims.items():
        schema.add_field(field.value, DataType.FLOAT_VECTOR, dim=dim)
    for text_field, size in TEXT_BYTES.items():
        schema.add_field(text_field, DataType.VARCHAR, max_length=size)
    for int_field in ("product_id", "revision", "price"):
        schema.add_field(int_field, DataType.INT64)
    schema.add_field("has_image", DataType.BOOL)
    return schema


def entity_row(entity: Entity, collection: str) -> Row:
    """The entity as the collection takes it. Raises ValueError at a vector that is not finite."""
    image = entity.image_clip_vector
    # A missing vector can't be null in every Milvus: zeros, which has_image keeps out of answers.
    zeros = np.zeros_like(entity.text_clip_vector)
    vectors = {
        VectorField.image_clip.value: zeros if image is None else image,
        VectorField.text_clip.value: entity.text_clip_vector,
        VectorField.text_bge.value: entity.text_bge_vector,
    }
    for field, vector in vectors.items():
        if not np.isfinite(vector).all():
            raise ValueError(f"{field} of product {entity.product_id} is not finite")
    return vectors | {
        "primary_key": entity.milvus_id,
        "product_id": entity.product_id,
        "revision": entity.revision,
        "title": entity.title,
        "image_path": entity.image_path or "",
        "has_image": image is not None,
        "category": scalar(entity.category),
        "brand": scalar(entity.brand),
        "price": _NO_PRICE if entity.price is None else _cents(entity.price),
        "encoder_fingerprint": collection.rpartition("_")[2],
    }


def entity_state(row: Mapping[str, Any]) -> EntityState:
    """From a row with STATE_FIELDS."""
    return EntityState(
        milvus_id=int(row["primary_key"]),
        product_id=int(row["product_id"]),
        revision=int(row["revision"]),
        encoder_fingerprint=row["encoder_fingerprint"],
        has_image=bool(row["has_image"]),
        image_path=row["image_path"] or None,
    )


def messages(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """The rows in their order, in parts of at most MESSAGE_BYTES each."""
    part: list[Row] = []
    size = 0
    for row in rows:
        bytes_of_row = _row_bytes(row)
        if part and size + bytes_of_row > MESSAGE_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += bytes_of_row
    if part:
        yield part


def _row_bytes(row: Row) -> int:
    texts = sum(len(value.encode()) for value in row.values() if isinstance(value, str))
    vectors = sum(4 * value.size for value in row.values() if isinstance(value, np.ndarray))
    return texts + vectors + _ROW_OVERHEAD


def filter_expression(filters: SearchFilters, *, image_leg: bool) -> str:
    """Milvus's boolean expression for the filters; "" where all entities pass."""
    parts = ["has_image == true"] if image_leg else []
    for field, values in (("category", filters.category), ("brand", filters.brand)):
        if values is not None:
            parts.append(f"{field} in [{', '.join(quoted(value) for value in values)}]")
    if filters.price is not None:
        parts.append(_price_expression(filters.price))
    return " and ".join(parts)


def _price_expression(prices: PriceRange) -> str:
    low = _cents(prices.gte) if prices.gte is not None else 0  # 0 leaves out _NO_PRICE
    high = f" and price <= {_cents(prices.lte)}" if prices.lte is not None else ""
    return f"price >= {low}{high}"


def _cents(price: Decimal) -> int:
    return int(price * 100)


def scalar(value: str | None) -> str:
    r"""A string as the collection holds it: control characters and backslashes as \xNN.

    Milvus's expression grammar has no line breaks in string literals, and its releases differ in
    the escapes they know; a value without such characters is the same in all of them.
    """
    return "".join(
        f"\\x{ord(char):02x}" if char == "\\" or unicodedata.category(char) == "Cc" else char
        for char in value or ""
    )


def quoted(value: str) -> str:
    """The string, as the collection holds it, as a literal of an expression."""
    escaped = scalar(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
