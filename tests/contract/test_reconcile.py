"""The doctor's walk on every database: drift made for real is found, repaired, and gone."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from data_models import DriftKind
from orm_models import Product
from product_search.catalog.products import KEEP_IMAGE
from product_search.drift import reconciler
from product_search.drift.snapshots import ProductState, fetch_states_after
from product_search.outbox import counts, events
from product_search.outbox.events import ClaimPolicy
from product_search.runs.background import Loop
from tests.contract.doctor_shop import (
    NONE,
    Shop,
    database as database,
    embed_otherwise,
    forget_event,
    found,
    leave_entity,
    lose_entity,
    milvus as milvus,
    set_back,
    shop as shop,
    stocked as stocked,
    swap_image,
    write_entity,
)
from tests.sessions import writing

REPAIRABLE: list[tuple[DriftKind, Callable[[Shop], str]]] = [
    (DriftKind.missing, lose_entity),
    (DriftKind.orphaned, leave_entity),
    (DriftKind.stale_revision, set_back),
    (DriftKind.stale_revision, swap_image),
    (DriftKind.wrong_encoder, embed_otherwise),
    (DriftKind.unqueued, forget_event),
]


@pytest.mark.parametrize(("kind", "make"), REPAIRABLE)
def test_drift_is_found_repaired_through_the_outbox_and_gone(
    stocked: Shop, kind: DriftKind, make: Callable[[Shop], str]
) -> None:
    subject = make(stocked)
    only_found = stocked.walk()
    assert found(only_found) == {kind: 1}
    assert [(one.kind, one.subject) for one in only_found.examples] == [(kind, subject)]
    assert (only_found.repaired, only_found.left) == (NONE, 1)
    repaired = stocked.walk(repair=True)
    assert (found(repaired), repaired.repaired[kind], repaired.left) == ({kind: 1}, 1, 0)
    assert found(stocked.walk(repair=True)) == {}  # it waits: nothing is queued twice
    assert stocked.database.read(counts.fetch_counts).pending == 1
    stocked.index()
    after = stocked.walk()
    assert found(after) == {}
    assert after.products == after.entities == stocked.entities.count()


def test_stores_in_step_have_no_drift_however_they_are_paged(stocked: Shop) -> None:
    for page in (1, 2, 3, 7, 100):
        walked = stocked.walk(page=page)
        assert (walked.products, walked.entities, walked.found) == (7, 7, NONE)


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_every_drift_is_found_once_however_the_stores_are_paged(stocked: Shop, page: int) -> None:
    for place in (0, 1, 5):
        stocked.entities.delete([stocked.key(place)])
    newest = stocked.key(6)
    for key in (5, 6, 7, newest + 1, newest + 2):
        write_entity(stocked, key)
    walked = stocked.walk(page=page)
    assert found(walked) == {DriftKind.missing: 3, DriftKind.orphaned: 5}
    assert (walked.products, walked.entities) == (7, 9)


def test_no_page_is_larger_than_asked(stocked: Shop) -> None:
    for key in range(1, 8):
        write_entity(stocked, key)
    stocked.walk(repair=True, page=2)
    asked = stocked.entities.shared["asked"]
    assert len(asked) > 7
    assert max(asked) <= 4  # suspects come from a page of rows and a page of entities


def test_what_waits_in_the_outbox_is_no_drift(stocked: Shop) -> None:
    stocked.create()
    stocked.catalog.update(stocked.ids[0], {"title": "新"}, KEEP_IMAGE)
    stocked.catalog.delete(stocked.ids[1])
    assert found(stocked.walk(repair=True)) == {}
    with writing(stocked.database) as session:
        assert len(events.claim(session, 100, ClaimPolicy()).items) == 3
    assert found(stocked.walk(repair=True)) == {}
    assert stocked.database.read(counts.fetch_counts).pending == 3


def test_products_that_were_given_up_are_counted_apart(stocked: Shop) -> None:
    with writing(stocked.database) as session:
        session.execute(
            update(Product).where(Product.id == stocked.ids[0]).values(index_status="failed")
        )
    stocked.entities.delete([stocked.key(0)])
    walked = stocked.walk()
    assert (walked.failed, walked.found) == (1, NONE)


def changed(shop: Shop) -> None:
    shop.catalog.update(shop.ids[2], {"title": "新"}, KEEP_IMAGE)


def deleted(shop: Shop) -> None:
    shop.catalog.delete(shop.ids[2])


def queued_again(shop: Shop) -> None:
    with writing(shop.database) as session:
        product = session.get_one(Product, shop.ids[2])
        product.index_status = "pending"
        events.record(session, product, events.Operation.upsert)


@pytest.mark.parametrize("indexed_at_once", [False, True])
@pytest.mark.parametrize("place", ["scan", "states"])
@pytest.mark.parametrize("happening", [changed, deleted, queued_again])
def test_what_happens_between_the_readings_is_no_drift(
    stocked: Shop, happening: Callable[[Shop], None], place: str, indexed_at_once: bool
) -> None:
    if place == "states":  # which is asked only where something looks drifted
        set_back(stocked)

    def meddle() -> None:
        happening(stocked)
        if indexed_at_once:
            stocked.index()

    stocked.entities.shared[place] = meddle
    walked = stocked.walk(repair=True)
    assert stocked.entities.shared[place] is None
    if (happening, indexed_at_once, place) == (queued_again, True, "states"):
        # The revision is as before and nothing waits: no reading can tell. It is queued once more.
        assert found(walked) == {DriftKind.stale_revision: 1}
    else:
        assert found(walked) == {}
    stocked.index()
    assert found(stocked.walk()) == {}


def test_a_product_that_is_queued_between_the_readings_is_not_queued_twice(stocked: Shop) -> None:
    forget_event(stocked)

    def queue() -> None:
        with writing(stocked.database) as session:
            product = session.get_one(Product, stocked.ids[-1])
            events.record(session, product, events.Operation.upsert)

    stocked.entities.shared["states"] = queue
    assert found(stocked.walk(repair=True)) == {}
    assert stocked.database.read(counts.fetch_counts).pending == 1


def test_a_product_that_comes_while_the_stores_are_read_is_no_drift(stocked: Shop) -> None:
    def come() -> None:
        stocked.create("新")
        stocked.index()

    stocked.entities.shared["scan"] = come
    assert found(stocked.walk(repair=True, page=3)) == {}


def test_a_product_that_is_indexed_and_deleted_while_it_is_checked_is_no_orphan(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stocked.create("新")  # the scan finds no entity of it

    def read(session: Session, after: int, limit: int) -> dict[int, ProductState]:
        rows = fetch_states_after(session, after, limit)
        monkeypatch.undo()
        ending.start()
        ending.join()
        return rows

    def end() -> None:
        stocked.index()
        stocked.catalog.delete(made.product_id)

    ending = threading.Thread(target=end)
    monkeypatch.setattr(reconciler, "fetch_states_after", read)
    assert found(stocked.walk(repair=True)) == {}
    assert not ending.is_alive()
    stocked.index()
    assert found(stocked.walk()) == {}


def test_writers_and_the_indexer_raise_no_false_alarm(stocked: Shop) -> None:
    stopping = threading.Event()
    loop = Loop("indexing", lambda: stocked.indexer.apply_oldest(4))
    loop.start()

    def write(number: int) -> None:
        made: list[int] = []
        while not stopping.is_set():
            made.append(stocked.catalog.create({"title": f"商品 {number}"}, None).product_id)
            stocked.catalog.update(made[-1], {"price": number}, KEEP_IMAGE)
            loop.wake()
            if len(made) > 3:
                stocked.catalog.delete(made.pop(0))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    try:
        walks = [stocked.walk(repair=bool(number % 2), page=3) for number in range(4)]
    finally:
        stopping.set()
        for writer in writers:
            writer.join()
        loop.stop()
    assert [walked.found for walked in walks] == [NONE] * 4
    assert stocked.catalog.get(stocked.ids[0]).index_status == "indexed"
