"""The outbox: recorded with the write, claimed oldest first, forgotten when done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import IndexStatus, OutboxCounts
from orm_models import Database, OutboxEvent, Product
from product_search.bootstrap.migrate import migrate
from product_search.outbox import catalog_events, counts, events as outbox
from product_search.outbox.events import ClaimPolicy, Operation, Priority
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


def events_of(session: Session) -> list[OutboxEvent]:
    return list(session.scalars(select(OutboxEvent).order_by(OutboxEvent.id)))


def test_an_event_says_which_product_and_revision(database: Database) -> None:
    with writing(database) as session:
        product = add(session, "书包")
    with reading(database) as session:
        (event,) = events_of(session)
    assert (event.product_id, event.milvus_id) == (product.id, product.milvus_id)
    assert (event.operation, event.revision) == ("upsert", 1)
    assert (event.claim_token, event.available_at, event.attempts) == (None, None, 0)


def test_an_event_is_rolled_back_with_its_write(database: Database) -> None:
    def fail() -> None:
        with writing(database) as session:
            add(session, "书包")
            raise KeyError("no")

    with pytest.raises(KeyError):
        fail()
    with reading(database) as session:
        assert events_of(session) == []


def test_nothing_done_is_nothing_forgotten(database: Database) -> None:
    with writing(database) as session:
        add(session, "书包")
        outbox.mark_done(session, [])
    with reading(database) as session:
        assert counts.count_pending(session) == 1


def test_waiting_events_are_counted_up_to_an_id(database: Database) -> None:
    with reading(database) as session:
        assert (counts.find_newest_id(session), counts.count_pending(session)) == (0, 0)
    with writing(database) as session:
        add(session, "一")
        add(session, "二")
    with reading(database) as session:
        last = counts.find_newest_id(session)
    with writing(database) as session:
        add(session, "三")
    with reading(database) as session:
        assert counts.count_pending(session, last) == 2
        assert counts.count_pending(session) == 3


def test_the_depth_is_counted_no_further_than_asked(database: Database) -> None:
    with writing(database) as session:
        for number in range(4):
            add(session, str(number))
        events_of(session)[0].priority = Priority.background.value
        session.flush()
        assert [counts.count_up_to(session, limit) for limit in (1, 3, 4, 100)] == [1, 3, 4, 4]
        urgent = [counts.count_up_to(session, limit, Priority.person) for limit in (1, 3, 4)]
        assert urgent == [1, 3, 3]


def test_products_that_were_given_up_or_are_tried_again_are_counted(database: Database) -> None:
    with writing(database) as session:
        add(session, "一").index_status = IndexStatus.failed
        add(session, "二").index_status = IndexStatus.indexed
        session.flush()
        events_of(session)[1].attempts = 3
    with reading(database) as session:
        assert counts.fetch_counts(session) == OutboxCounts(pending=2, retrying=1, failed=1)


def test_each_pause_is_twice_the_one_before_up_to_an_hour() -> None:
    pauses = [
        ClaimPolicy().pause(attempts).total_seconds() for attempts in (1, 2, 3, 4, 11, 12, 100)
    ]
    assert pauses == [2, 4, 8, 16, 2048, 3600, 3600]


def test_all_products_are_queued_once_each_for_a_new_collection(database: Database) -> None:
    with writing(database) as session:
        products = [add(session, str(number)) for number in range(4)]
        outbox.record(session, products[0], Operation.upsert)
        products[1].index_status = IndexStatus.indexed
        products[2].index_status = IndexStatus.failed
        products[2].index_error = "图片已损坏"
        products[3].revision = 7
    with writing(database) as session:
        catalog_events.record_rebuild(session)
    with reading(database) as session:
        events = events_of(session)
        rows = [session.get(Product, product.id) for product in products]
    assert [event.product_id for event in events] == [product.id for product in products]
    assert [event.milvus_id for event in events] == [product.milvus_id for product in products]
    assert [event.revision for event in events] == [1, 1, 1, 7]
    assert {event.operation for event in events} == {"rebuild"}
    assert {(event.claim_token, event.available_at, event.attempts) for event in events} == {
        (None, None, 0)
    }
    assert all(event.created_at.tzinfo is not None for event in events)
    states = {(row.index_status, row.index_error) for row in rows if row is not None}
    assert states == {("pending", None)}
