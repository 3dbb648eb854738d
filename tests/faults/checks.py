"""Whether the two stores agree, each row and each vector, as the test itself reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pymilvus import MilvusClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import IndexStatus, VectorField
from nlp_models import EncoderPair
from orm_models import OutboxEvent, Product, Run, VectorCollection
from product_search.images.store import ImageStore
from product_search.indexing.collections import Role
from product_search.milvus.schema import collection_name
from product_search.runs import queue
from product_search.text.analysis import plain
from product_search.text.document import document

_SAME = 1e-4  # numbers of a vector that was computed in another batch
_MOST = 16_384


def drift(
    session: Session, milvus: MilvusClient, images: ImageStore, encoders: EncoderPair
) -> list[str]:
    """All in which Milvus is not what the rows say, and all work that is not done: a line each."""
    name = collection_name(encoders.fingerprint)
    roles = {row.name: row.role for row in session.scalars(select(VectorCollection))}
    wrong = [] if roles == {name: Role.active} else [f"{roles}: active alone should be {name}"]
    wrong += [f"event {event.id} waits" for event in session.scalars(select(OutboxEvent))]
    # A command that was killed leaves its own, which the next one ends after its lease.
    unfinished = select(Run).where(
        Run.state.in_(queue.UNFINISHED), Run.kind != queue.RunKind.local_import
    )
    wrong += [f"run {run.id} ({run.kind}) is {run.state}" for run in session.scalars(unfinished)]
    rows = session.scalars(select(Product).order_by(Product.id)).all()
    entities = _entities(milvus, name)
    for row, expected in zip(rows, _expected(rows, images, encoders), strict=True):
        if row.index_status != IndexStatus.indexed:
            wrong.append(f"product {row.id} is {row.index_status}: {row.index_error}")
        wrong += _differences(row.id, expected, entities.pop(row.milvus_id, None))
    return wrong + [f"entity {key} of product {e['product_id']}" for key, e in entities.items()]


def _entities(milvus: MilvusClient, name: str) -> dict[int, dict[str, Any]]:
    milvus.load_collection(name)
    found = milvus.query(
        name,
        filter="primary_key >= 0",
        output_fields=["*"],
        limit=_MOST,
        consistency_level="Strong",
    )
    entities = {int(entity["primary_key"]): entity for entity in found}
    assert len(entities) == len(found) < _MOST, "a key is there twice, or not all were read"
    return entities


def _expected(
    rows: Sequence[Product], images: ImageStore, encoders: EncoderPair
) -> list[dict[str, Any]]:
    """The entities that the rows should have, encoded anew."""
    bge, clip = encoders.encode_products(
        [document(row.title, row.category, row.description) for row in rows],
        [plain(row.title) for row in rows],
    )
    pictures = [images.load(row.image_hash) for row in rows if row.image_hash]
    seen = iter(encoders.image_text.encode_images(pictures))
    nothing = np.zeros(encoders.image_text.dim, np.float32)
    return [
        {
            "product_id": row.id,
            "revision": row.revision,
            "title": row.title,
            "category": row.category or "",
            "brand": row.brand or "",
            "price": -1 if row.price is None else int(row.price * 100),
            "image_path": row.image_hash or "",
            "has_image": row.image_hash is not None,
            "encoder_fingerprint": encoders.fingerprint,
            VectorField.image_clip.value: next(seen) if row.image_hash else nothing,
            VectorField.text_clip.value: text,
            VectorField.text_bge.value: document,
        }
        for row, document, text in zip(rows, bge, clip, strict=True)
    ]


def _differences(
    product_id: int, expected: dict[str, Any], entity: dict[str, Any] | None
) -> list[str]:
    if entity is None:
        return [f"product {product_id} has no entity"]
    wrong = []
    for field, value in expected.items():
        there = entity[field]
        if isinstance(value, np.ndarray):
            if not np.allclose(np.asarray(there, np.float32), value, atol=_SAME):
                wrong.append(f"product {product_id}: {field} is not of its content")
        elif there != value:
            wrong.append(f"product {product_id}: {field} is {there!r}, not {value!r}")
    return wrong
