"""The log of changes on every database: a record for each change, and a change for each record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from data_models import ChangeOut, ChangesQuery, IndexStatus
from orm_models import (
    ApiKey,
    Database,
    OutboxEvent,
    Product,
    Run,
    SigningSecret,
    VectorCollection,
)
from product_search.access.addresses import rotate_secret
from product_search.access.keys import create_key, revoke_key
from product_search.catalog.products import KEEP_IMAGE, Catalog
from product_search.changes.listing import drop_old, list_changes
from product_search.context import Principal, Scope, acting_as, within_request
from product_search.errors import DuplicateSku, ProductNotFound
from product_search.images.store import ImageStore
from product_search.indexing import reindex
from product_search.runs import queue
from product_search.runs.executor import LEASE, RunContext, RunFailed, execute
from product_search.runs.queue import RunKind
from tests.sessions import reading, writing

SHOP = Principal("店铺后台", Scope.write, "Zk3v9Q")
OTHER = Principal("夜班", Scope.admin, "Xy7")


@pytest.fixture
def catalog(database: Database, tmp_path: Path) -> Catalog:
    return Catalog(database, ImageStore(tmp_path / "images"))


def changes(database: Database, **query: Any) -> list[ChangeOut]:
    return database.read(list_changes, ChangesQuery(**query)).items


def operations(database: Database, **query: Any) -> list[str]:
    return [one.operation for one in changes(database, **query)]


def test_each_write_of_a_product_leaves_one_record(catalog: Catalog, database: Database) -> None:
    with acting_as(SHOP), within_request("r-1"):
        product_id = catalog.create({"sku": "A", "title": "书包"}, None).product_id
        catalog.update(product_id, {"title": "背包", "price": None}, KEEP_IMAGE)
        catalog.update(product_id, {"title": "背包"}, KEEP_IMAGE)  # as it is
        catalog.delete(product_id)
    deleted, updated, created = changes(database)
    for one in (deleted, updated, created):
        assert (one.principal, one.key_id, one.request_id) == ("店铺后台", "Zk3v9Q", "r-1")
        assert (one.subject_kind, one.subject_id, one.count) == ("product", str(product_id), 1)
    assert (created.operation, created.detail) == ("product_created", {})
    assert (updated.operation, updated.detail) == ("product_updated", {"fields": ["title"]})
    assert deleted.operation == "product_deleted"
    assert deleted.detail == {"sku": "A", "title": "背包"}


def test_what_did_not_happen_is_not_recorded(catalog: Catalog, database: Database) -> None:
    catalog.create({"sku": "A", "title": "书包"}, None)
    with pytest.raises(DuplicateSku):
        catalog.create({"sku": "A", "title": "伞"}, None)
    with pytest.raises(ProductNotFound):
        catalog.delete(7)
    assert operations(database) == ["product_created"]


def unrecordable() -> Principal:
    """A caller that no database can keep."""
    return Principal("x", Scope.write, key_id=object())  # type: ignore[arg-type]


WRITES: dict[str, Callable[[Catalog], object]] = {
    "create": lambda catalog: catalog.create({"title": "伞"}, None),
    "update": lambda catalog: catalog.update(1, {"title": "伞"}, KEEP_IMAGE),
    "delete": lambda catalog: catalog.delete(1),
    "retry": lambda catalog: catalog.retry(1),
    "import": lambda catalog: catalog.database.write(queue.enqueue, RunKind.import_, {"file": "a"}),
    "repair": lambda catalog: catalog.database.write(
        queue.enqueue, RunKind.doctor, {"repair": True}
    ),
    "roll back": lambda catalog: catalog.database.write(reindex.roll_back),
    "key": lambda catalog: catalog.database.write(create_key, "店铺", Scope.read),
    "secret": lambda catalog: catalog.database.write(rotate_secret, at_once=False),
    "drop": lambda catalog: catalog.database.write(reindex.drop_previous),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
def test_nothing_is_changed_without_a_record(
    catalog: Catalog, database: Database, write: Callable[[Catalog], object]
) -> None:
    catalog.create({"title": "书包"}, None)
    with writing(database) as session:
        session.get_one(Product, 1).index_status = IndexStatus.failed
        for role in ("active", "previous"):
            session.add(VectorCollection(name=role, role=role, encoder_fingerprint="x"))
    before = everything(database)
    with acting_as(unrecordable()), pytest.raises(Exception, match=r".+"):
        write(catalog)
    assert everything(database) == before
    assert operations(database) == ["product_created"]
    write(catalog)  # it was the record that kept it from happening
    assert everything(database) != before


def everything(database: Database) -> object:
    """What these writes change."""
    with reading(database) as session:
        products = session.execute(select(Product.id, Product.title, Product.index_status)).all()
        roles = session.execute(
            select(VectorCollection.name, VectorCollection.role).order_by(VectorCollection.name)
        ).all()
        events = session.scalar(select(func.count()).select_from(OutboxEvent))
        runs = session.scalar(select(func.count()).select_from(Run))
        keys = session.scalar(select(func.count()).select_from(ApiKey))
        secrets = session.scalar(select(func.count()).select_from(SigningSecret))
        return products, roles, events, runs, keys, secrets


def test_keys_are_recorded_as_they_are_made_and_revoked_and_never_their_text(
    database: Database,
) -> None:
    with acting_as(OTHER):
        key = database.write(create_key, "店铺", Scope.read, ["https://shop.example"])
        database.write(revoke_key, key.key_id)
        database.write(revoke_key, key.key_id)  # it is already
    revoked, created = changes(database)
    assert (created.operation, revoked.operation) == ("key_created", "key_revoked")
    for one in (created, revoked):
        assert (one.subject_kind, one.subject_id) == ("key", key.key_id)
        assert (one.principal, one.detail["name"]) == ("夜班", "店铺")
        assert key.text not in one.model_dump_json()
    assert created.detail["origins"] == ["https://shop.example"]


def imported(context: RunContext) -> None:
    """A handler of imports that has added three products of four rows."""
    counts = {"rows_total": 4, "rows_done": 4, "created": 2, "updated": 1, "bad": 1}
    context.database.write(queue.save, context.claim, counts, LEASE)


def start(database: Database, kind: RunKind, **options: Any) -> int:
    return database.write(queue.enqueue, kind, options).id


def carry_out(database: Database, kind: RunKind, handler: Callable[[RunContext], None]) -> None:
    """Let another process, which nobody has asked for anything, carry out the next run."""
    claim = database.write(queue.claim, [kind], LEASE)
    assert claim is not None
    execute(RunContext(database, claim, threading.Event()), handler)


def test_an_import_is_recorded_as_it_starts_and_once_with_its_counts(database: Database) -> None:
    with acting_as(SHOP), within_request("r-1"):
        run_id = start(database, RunKind.import_, file="/tmp/upload/春季.csv")
    carry_out(database, RunKind.import_, imported)
    finished, started = changes(database)
    assert (started.operation, started.detail) == ("import_started", {"file": "春季.csv"})
    assert (finished.operation, finished.count) == ("import_finished", 3)
    assert finished.detail["state"] == "done"
    assert finished.detail["bad"] == 1
    for one in (started, finished):  # whoever carries it out does so for whoever has asked
        assert (one.subject_kind, one.subject_id) == ("run", str(run_id))
        assert (one.principal, one.key_id, one.request_id) == ("店铺后台", "Zk3v9Q", "r-1")


def test_products_of_an_import_are_indexed_in_its_request(
    catalog: Catalog, database: Database
) -> None:
    def write(context: RunContext) -> None:
        catalog.create({"title": "书包"}, None)

    with within_request("r-1"):
        start(database, RunKind.import_, file="a.csv")
    carry_out(database, RunKind.import_, write)
    with reading(database) as session:
        assert session.scalars(select(OutboxEvent.request_id)).all() == ["r-1"]


def test_whoever_cancels_is_recorded(database: Database) -> None:
    with acting_as(SHOP):
        run_id = start(database, RunKind.generate)
    with acting_as(OTHER):
        assert database.write(queue.cancel, run_id)
        assert not database.write(queue.cancel, run_id)
    cancelled, started = changes(database)
    assert (started.operation, started.principal) == ("generation_started", "店铺后台")
    assert (cancelled.operation, cancelled.principal) == ("generation_cancelled", "夜班")


def test_runs_that_change_nothing_leave_no_record(database: Database) -> None:
    for kind in (RunKind.duplicates, RunKind.audit, RunKind.map, RunKind.doctor):
        start(database, kind)
        carry_out(database, kind, lambda _: None)
    assert operations(database) == []


def failing(_context: RunContext) -> None:
    raise RunFailed("没有了")


def test_a_repair_that_fails_is_recorded_as_failed(database: Database) -> None:
    start(database, RunKind.doctor, repair=True, drop=[])
    carry_out(database, RunKind.doctor, failing)
    finished, started = changes(database)
    assert (started.operation, started.detail) == ("repair_started", {"drop": []})
    assert (finished.operation, finished.detail) == ("repair_finished", {"state": "failed"})


def test_an_import_whose_process_died_is_recorded_as_cancelled(database: Database) -> None:
    start(database, RunKind.local_import, file="a.csv")
    with acting_as(OTHER):
        database.write(queue.cancel_abandoned, RunKind.local_import)
    assert operations(database) == ["import_cancelled", "import_started"]
    assert changes(database)[0].principal == "夜班"


def test_the_log_is_read_by_pages_newest_first(catalog: Catalog, database: Database) -> None:
    made = [catalog.create({"title": "书包"}, None).product_id for _ in range(5)]
    first = database.read(list_changes, ChangesQuery(limit=2))
    assert [one.subject_id for one in first.items] == [str(made[4]), str(made[3])]
    catalog.delete(made[0])  # what comes meanwhile moves no page
    assert first.next_after is not None
    second = database.read(list_changes, ChangesQuery(limit=2, after=first.next_after))
    third = database.read(list_changes, ChangesQuery(limit=2, after=second.next_after or 0))
    rest = [one.subject_id for one in (*second.items, *third.items)]
    assert rest == [str(made[2]), str(made[1]), str(made[0])]
    assert third.next_after is None


def test_the_log_is_filtered(catalog: Catalog, database: Database) -> None:
    one, two = (catalog.create({"title": "书包"}, None).product_id for _ in range(2))
    catalog.delete(one)
    start(database, RunKind.import_, file=str(one))  # of another kind, with this id perhaps
    assert operations(database, product_id=one) == ["product_deleted", "product_created"]
    assert [found.subject_id for found in changes(database, operation="product_created")] == [
        str(two),
        str(one),
    ]
    latest = changes(database)[0].at
    assert operations(database, since=latest + timedelta(seconds=1)) == []
    assert len(changes(database, since=latest - timedelta(minutes=1), product_id=two)) == 1


def test_only_the_newest_are_kept(
    catalog: Catalog, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("product_search.changes.listing._DROPPED_AT_ONCE", 3)
    assert drop_old(database, 2) == 0
    made = [catalog.create({"title": "书包"}, None).product_id for _ in range(7)]
    assert [drop_old(database, 2) for _ in range(3)] == [3, 2, 0]
    assert [one.subject_id for one in changes(database)] == [str(made[6]), str(made[5])]
