"""The check after each fault finds every kind of drift; else its silence would say nothing."""

from __future__ import annotations

import random
from typing import Any

import pytest
from pymilvus import MilvusClient
from sqlalchemy import delete, select, update

from orm_models import Product
from product_search.outbox.events import Operation, record
from tests.faults import checks
from tests.faults.load import Load
from tests.faults.places import Place
from tests.sessions import reading, writing

pytestmark = pytest.mark.parametrize("place", ["embedded"], indirect=True)


def change_entity(milvus: MilvusClient, collection: str, key: int, **values: Any) -> None:
    (entity,) = milvus.query(collection, filter=f"primary_key == {key}", output_fields=["*"])
    milvus.upsert(collection, data=[entity | values])


def test_every_difference_between_the_stores_is_found(place: Place) -> None:
    with Load(place.addresses, place.ledger, random.Random(1)) as load:
        place.start_all()
        load.wait(60)
    assert place.drift() == []

    with place.opened_vectors() as vector_database, reading(place.database) as session:
        milvus, _ = vector_database.connection.client()

        def found() -> list[str]:
            session.expire_all()
            return checks.drift(session, milvus, place.images, place.encoders)

        rows = session.scalars(select(Product).order_by(Product.id)).all()
        pictured = next(row for row in rows if row.image_hash)
        gone, titled, stale, seen, *_ = [row for row in rows if row is not pictured]
        keys = {row.id: row.milvus_id for row in rows}
        assert found() == []
        name = place.collection
        milvus.delete(name, ids=[gone.milvus_id])
        assert found() == [f"product {gone.id} has no entity"]
        other = place.encoders.text.encode_documents(["红色苹果 7 7 7"])[0]
        change_entity(milvus, name, keys[titled.id], text_bge_vector=other)
        change_entity(milvus, name, keys[stale.id], revision=stale.revision + 1)
        change_entity(milvus, name, keys[pictured.id], image_clip_vector=[0.0] * 16)
        change_entity(milvus, name, keys[seen.id], primary_key=12345)
        told = "\n".join(found())
        assert f"product {titled.id}: text_bge_vector is not of its content" in told
        assert f"product {stale.id}: revision is {stale.revision + 1}" in told
        assert f"product {pictured.id}: image_clip_vector is not of its content" in told
        assert f"entity 12345 of product {seen.id}" in told
        assert len(found()) == 5


def test_work_that_waits_and_writes_that_are_lost_are_found(place: Place) -> None:
    with reading(place.database) as session:
        first, second, third = session.scalars(select(Product).limit(3)).all()
    with writing(place.database) as session:
        session.execute(update(Product).where(Product.id == first.id).values(title="别的"))
        session.execute(delete(Product).where(Product.id == second.id))
        session.execute(update(Product).where(Product.id == third.id).values(sku="X-1"))
        fourth = session.scalars(select(Product).order_by(Product.id.desc()).limit(1)).one()
        record(session, fourth, Operation.upsert)
    with place.opened_vectors() as vector_database, reading(place.database) as session:
        rows = session.scalars(select(Product)).all()
        told = "\n".join(place.ledger.lost_writes(rows))
        milvus, _ = vector_database.connection.client()
        assert any(
            line.endswith("waits")
            for line in checks.drift(session, milvus, place.images, place.encoders)
        )
    assert f"{first.sku} is Content(title='别的'" in told
    assert f"{second.sku} is None" in told
    assert "row 'X-1' was never asked for" in told
    assert f"{third.sku} is None" in told
