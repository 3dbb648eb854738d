"""Entities of a collection: products as rows, and rows as messages that a server takes."""

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

from product_search.schemas.fields import MAX_LABEL
from product_search.schemas.search import VectorField

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
        "price": _NO_PRICE if entity.price is None else cents(entity.price),
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
            found[stored_key(key)] = held
    return found


def _held(value: object) -> object:
    if isinstance(value, list):
        return sorted({element_hash(one) for one in value if _is_filterable(one)})
    if not _is_filterable(value):
        return None
    return scalar(value) if isinstance(value, str) else value


def _is_filterable(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_LABEL
    return isinstance(value, bool | int | float)


def element_hash(value: object) -> int:
    """Hash an element of a list; equal elements have equal hashes, and true is not 1.

    Milvus Lite ends, or misses entities, when it looks for strings in lists; numbers are safe.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = float(value) + 0.0  # of the two zeros one
    return int.from_bytes(blake2b(json.dumps(value).encode(), digest_size=6).digest())


def stored_key(key: str) -> str:
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


def cents(price: Decimal) -> int:
    """Return a price as the collection holds it."""
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
