"""The outbox: recorded with the write, oldest first, forgotten when done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from data_models import IndexStatus, OutboxCounts
from orm_models import Database, Product
from product_search import outbox
from product_search.outbox import Operation
from product_search.schema import migrate
from tests.sessions import reading, writing


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    migrate(database)
    yield database
    database.close()


def add(session: Session, title: str) -> Product:
    product = Product(title=title)
    session.add(product)
    session.flush()
    outbox.record(session, product, Operation.upsert)
    return product


def test_an_event_says_which_product_and_revision(database: Database) -> None:
    with writing(database) as session:
        product = add(session, "书包")
    with reading(database) as session:
        (event,) = outbox.oldest(session, 10)
    assert (event.product_id, event.milvus_id) == (product.id, product.milvus_id)
    assert (event.operation, event.revision) == ("upsert", 1)


def test_an_event_is_rolled_back_with_its_write(database: Database) -> None:
    def fail() -> None:
        with writing(database) as session:
            add(session, "书包")
            raise KeyError("no")

    with pytest.raises(KeyError):
        fail()
    with reading(database) as session:
        assert outbox.oldest(session, 10) == []


def test_the_oldest_events_come_first(database: Database) -> None:
    with writing(database) as session:
        ids = [add(session, str(number)).id for number in range(5)]
    with reading(database) as session:
        assert [event.product_id for event in outbox.oldest(session, 3)] == ids[:3]


def test_events_that_are_done_are_forgotten_and_newer_ones_stay(database: Database) -> None:
    with writing(database) as session:
        product = add(session, "书包")
    with reading(database) as session:
        done = outbox.oldest(session, 10)
    with writing(database) as session:
        outbox.record(session, product, Operation.upsert)
    with writing(database) as session:
        outbox.mark_done(session, done)
    with reading(database) as session:
        (left,) = outbox.oldest(session, 10)
        assert left.id > done[0].id


def test_nothing_done_is_nothing_forgotten(database: Database) -> None:
    with writing(database) as session:
        add(session, "书包")
        outbox.mark_done(session, [])
    with reading(database) as session:
        assert outbox.pending(session) == 1


def test_waiting_events_are_counted_up_to_an_id(database: Database) -> None:
    with reading(database) as session:
        assert (outbox.newest_id(session), outbox.pending(session)) == (0, 0)
    with writing(database) as session:
        add(session, "一")
        add(session, "二")
    with reading(database) as session:
        last = outbox.newest_id(session)
    with writing(database) as session:
        add(session, "三")
    with reading(database) as session:
        assert outbox.pending(session, last) == 2
        assert outbox.pending(session) == 3


def test_products_that_were_given_up_are_counted(database: Database) -> None:
    with writing(database) as session:
        add(session, "一").index_status = IndexStatus.failed
        add(session, "二").index_status = IndexStatus.indexed
    with reading(database) as session:
        assert outbox.counts(session) == OutboxCounts(pending=2, failed=1)


def test_all_products_are_queued_once_each_for_a_new_collection(database: Database) -> None:
    with writing(database) as session:
        products = [add(session, str(number)) for number in range(4)]
        outbox.record(session, products[0], Operation.upsert)
        products[1].index_status = IndexStatus.indexed
        products[2].index_status = IndexStatus.failed
        products[2].index_error = "图片已损坏"
        products[3].revision = 7
    with writing(database) as session:
        outbox.record_all(session)
    with reading(database) as session:
        events = outbox.oldest(session, 100)
        rows = [session.get(Product, product.id) for product in products]
    assert [event.product_id for event in events] == [product.id for product in products]
    assert [event.milvus_id for event in events] == [product.milvus_id for product in products]
    assert [event.revision for event in events] == [1, 1, 1, 7]
    assert {event.operation for event in events} == {"upsert"}
    assert all(event.created_at.tzinfo is not None for event in events)
    states = {(row.index_status, row.index_error) for row in rows if row is not None}
    assert states == {("pending", None)}
