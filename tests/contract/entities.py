"""Small entities, and what the tests of an EntityCollection share about them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from data_models import DENSE_FIELDS, SearchFilters, VectorField
from product_search.milvus.entities import Entity, Vector
from vector_db import EntityCollection

DIM = 8
DIMS = dict.fromkeys(DENSE_FIELDS, DIM)
ALL = SearchFilters()
IMAGE, TEXT, BGE = VectorField.image_clip, VectorField.text_clip, VectorField.text_bge
BIG_KEYS = [2**62 + 12_345, 2**63 - 1]


def unit(place: int, dim: int = DIM) -> Vector:
    vector = np.zeros(dim, np.float32)
    vector[place % dim] = 1
    return vector


def at(cosine: float) -> Vector:
    """A vector of length 1 whose cosine with unit(0) is this."""
    vector = unit(0) * np.float32(cosine)
    vector[1] = np.sqrt(1 - cosine**2)
    return vector


def entity(milvus_id: int, vector: Vector | None = None, **values: Any) -> Entity:
    """An entity all of whose vectors are the same, unless told otherwise."""
    given_vector = unit(0) if vector is None else vector
    whole: dict[str, Any] = {
        "milvus_id": milvus_id,
        "product_id": milvus_id,
        "revision": 1,
        "title": "书包",
        "search_text": "书包",
        "category": None,
        "brand": None,
        "price": None,
        "attributes": {},
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "image_path": "0" * 64,
        "image_clip_vector": given_vector,
        "text_clip_vector": given_vector,
        "text_bge_vector": given_vector,
    }
    return Entity(**(whole | values))


def found(
    entities: EntityCollection,
    field: VectorField = BGE,
    vector: Vector | None = None,
    **filters: Any,
) -> list[int]:
    hits = entities.search(field, unit(0) if vector is None else vector, 100, unchecked(**filters))
    return [hit.milvus_id for hit in hits]


def unchecked(price: dict[str, Any] | None = None, **texts: str | list[str]) -> SearchFilters:
    """Filters over texts that a request may not have, such as a line break alone."""
    filters = SearchFilters.model_validate({"price": price})
    for field, values in texts.items():
        setattr(filters, field, [values] if isinstance(values, str) else values)
    return filters
