"""Schema of a collection: its fields, entities as rows, filters as expressions."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import CollectionSchema, DataType, Function, FunctionType, MilvusClient

from product_search.schemas.fields import MAX_LABEL
from product_search.schemas.filters import MomentRange, NumberRange, PriceRange, SearchFilters
from product_search.schemas.search import VectorField

# Raised when the schema below changes: a new version is a new collection, filled afresh.
SCHEMA_VERSION = 2
TERMS = "search_text"  # what BM25 sees of a product
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
    TERMS: 32_000,
}
# Index, metric and parameters of the field that Milvus itself fills, from search_text.
BM25 = ("SPARSE_INVERTED_INDEX", "BM25", {"bm25_k1": 1.2, "bm25_b": 0.75})
# Milvus takes 65,536 in a JSON field: all that the API allows, but for thousands of elements.
_ATTRIBUTES_BYTES = 65_000
STATE_FIELDS = [
    "primary_key",
    "product_id",
    "revision",
    "encoder_fingerprint",
    "has_image",
    "image_path",
]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_PRICE = -1
_ROW_OVERHEAD = 200  # bytes: the numbers, and what the message wraps around the fields
Vector = NDArray[np.float32]
Row = dict[str, Any]


@dataclass(frozen=True)
class Entity:
    """A product in Milvus: three vectors, its terms, and the scalars that filters read."""

    milvus_id: int
    product_id: int
    revision: int
    title: str
    search_text: str
    category: str | None
    brand: str | None
    price: Decimal | None
    attributes: Mapping[str, Any]
    created_at: datetime
    image_path: str | None
    image_clip_vector: Vector | None
    text_clip_vector: Vector
    text_bge_vector: Vector


@dataclass(frozen=True)
class EntityState:
    """State of an entity, by which it is compared with its product's row."""

    milvus_id: int
    product_id: int
    revision: int
    encoder_fingerprint: str
    has_image: bool
    image_path: str | None


def collection_name(fingerprint: str) -> str:
    """Return the name of the collection for this encoder pair and this schema."""
    return f"product_v{SCHEMA_VERSION}_{fingerprint}"


def collection_schema(
    dims: Mapping[VectorField, int], partition_key: str | None = None
) -> CollectionSchema:
    """Return the schema of a collection with these vectors; only servers take `partition_key`."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("primary_key", DataType.INT64, is_primary=True)
    for field, dim in dims.items():
        schema.add_field(field.value, DataType.FLOAT_VECTOR, dim=dim)
    for text_field, size in TEXT_BYTES.items():
        terms = {"enable_analyzer": True, "analyzer_params": {"tokenizer": "whitespace"}}
        more = terms if text_field == TERMS else {}
        is_key = text_field == partition_key
        schema.add_field(
            text_field, DataType.VARCHAR, max_length=size, is_partition_key=is_key, **more
        )
    for int_field in ("product_id", "revision", "price", "created_at"):
        schema.add_field(int_field, DataType.INT64)
    schema.add_field("has_image", DataType.BOOL)
    schema.add_field("attributes", DataType.JSON)
    schema.add_field(VectorField.text_bm25.value, DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, [TERMS], [VectorField.text_bm25.value]))
    return schema


def entity_row(entity: Entity, collection: str) -> Row:
    """Turn the entity into a row. Raises ValueError at a vector that is not finite."""
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
        TERMS: _cut(entity.search_text, TEXT_BYTES[TERMS]),
        "image_path": entity.image_path or "",
        "has_image": image is not None,
        "category": scalar(entity.category),
        "brand": scalar(entity.brand),
        "price": _NO_PRICE if entity.price is None else _cents(entity.price),
        "attributes": filterable(entity.attributes),
        "created_at": microseconds(entity.created_at),
        "encoder_fingerprint": collection.rpartition("_")[2],
    }


def _cut(terms: str, size: int) -> str:
    """Return as many whole terms as fit into so many bytes."""
    encoded = terms.encode()
    if len(encoded) <= size:
        return terms
    return encoded[: size + 1].rpartition(b" ")[0].decode()


def filterable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that filters can name: strings, numbers, booleans, lists of them.

    Strings are as long as a filter's values may be; what Milvus can't hold is left out.
    """
    found: dict[str, Any] = {}
    size = 0
    for key, value in attributes.items():
        held = _held(value)
        size += len(json.dumps([key, held], ensure_ascii=False, separators=(",", ":")).encode())
        if held is not None and size <= _ATTRIBUTES_BYTES:
            found[_held_key(key)] = held
    return found


def _held(value: object) -> object:
    if isinstance(value, list):
        return sorted({_hashed(one) for one in value if _is_filterable(one)})
    if not _is_filterable(value):
        return None
    return scalar(value) if isinstance(value, str) else value


def _is_filterable(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_LABEL
    return isinstance(value, bool | int | float)


def _hashed(value: object) -> int:
    """Hash an element of a list; equal elements have equal hashes, and true is not 1.

    Milvus Lite ends, or misses entities, when it looks for strings in lists; numbers are safe.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = float(value) + 0.0  # of the two zeros one
    return int.from_bytes(blake2b(json.dumps(value).encode(), digest_size=6).digest())


def _held_key(key: str) -> str:
    r"""Return a key as the collection holds it: without brackets, and never empty.

    Milvus parts the path to a value at each `][`, even within quotes, and knows no empty key. A
    lone backslash is no other key's form.
    """
    return scalar(key).replace("[", "\\x5b").replace("]", "\\x5d") or "\\"


def microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970, as the collection holds moments."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def entity_state(row: Mapping[str, Any]) -> EntityState:
    """Turn a row with STATE_FIELDS into a state."""
    return EntityState(
        milvus_id=int(row["primary_key"]),
        product_id=int(row["product_id"]),
        revision=int(row["revision"]),
        encoder_fingerprint=row["encoder_fingerprint"],
        has_image=bool(row["has_image"]),
        image_path=row["image_path"] or None,
    )


def messages(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the rows in their order, in parts of at most MESSAGE_BYTES each."""
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
    attributes = len(json.dumps(row["attributes"], ensure_ascii=False).encode())
    return texts + vectors + attributes + _ROW_OVERHEAD


def filter_expression(filters: SearchFilters, *, image_leg: bool) -> str:
    """Return Milvus's boolean expression for the filters; "" where all entities pass.

    On attributes it agrees with `filters.passes`, which reads a row.
    """
    parts = ["has_image == true"] if image_leg else []
    for field, values in (("category", filters.category), ("brand", filters.brand)):
        if values is not None:
            parts.append(f"{field} in [{', '.join(quoted(value) for value in values)}]")
    if filters.price is not None:
        parts.append(_price_expression(filters.price))
    if filters.has_image is not None:
        parts.append(f"has_image == {_literal(filters.has_image)}")
    if filters.created_at is not None:
        parts += _created_expressions(filters.created_at)
    for key, condition in (filters.attributes or {}).items():
        parts.append(_attribute_expression(key, condition))
    return _all(parts) if parts else ""


def _all(parts: Sequence[str]) -> str:
    """Join the parts by `and`, in halves of halves: Milvus refuses as long a chain as may come."""
    if len(parts) <= 4:
        return " and ".join(parts)
    half = len(parts) // 2
    return f"({_all(parts[:half])}) and ({_all(parts[half:])})"


def _price_expression(prices: PriceRange) -> str:
    low = _cents(prices.gte) if prices.gte is not None else 0  # 0 leaves out _NO_PRICE
    high = f" and price <= {_cents(prices.lte)}" if prices.lte is not None else ""
    return f"price >= {low}{high}"


def _created_expressions(moments: MomentRange) -> Iterator[str]:
    for operator, moment in ((">=", moments.gte), ("<=", moments.lte)):
        if moment is not None:
            yield f"created_at {operator} {microseconds(moment)}"


def _attribute_expression(key: str, condition: Sequence[object] | NumberRange) -> str:
    name = f"attributes[{_string(_held_key(key))}]"
    if isinstance(condition, NumberRange):
        ends = {
            ">=": condition.gte,
            ">": condition.gt,
            "<=": condition.lte,
            "<": condition.lt,
        }
        return " and ".join(
            f"{name} {operator} {_literal(end)}"
            for operator, end in ends.items()
            if end is not None
        )
    parts = []
    for kind in (str, float, bool):  # a list of values has one type
        literals = [_literal(value) for value in condition if type(value) is kind]
        if literals:
            parts.append(f"{name} in [{', '.join(literals)}]")
    parts.append(f"json_contains_any({name}, {[_hashed(value) for value in condition]})")
    return f"({' or '.join(parts)})"


def _literal(value: object) -> str:
    """Write a value as a literal; all numbers are doubles, since a list has one type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else repr(value)


def _cents(price: Decimal) -> int:
    return int(price * 100)


def scalar(value: str | None) -> str:
    r"""Return a string as the collection holds it: controls and backslashes as \xNN.

    Milvus's expression grammar has no line breaks in string literals, and its releases differ in
    the escapes they know; a value without such characters is the same in all of them.
    """
    return "".join(
        f"\\x{ord(char):02x}" if char == "\\" or unicodedata.category(char) == "Cc" else char
        for char in value or ""
    )


def quoted(value: str) -> str:
    """Write the string, as the collection holds it, as a literal of an expression."""
    return _string(scalar(value))


def _string(held: str) -> str:
    escaped = held.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
