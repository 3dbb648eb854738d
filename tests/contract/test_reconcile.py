"""The doctor's walk on every database: drift made for real is found, repaired, and gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from data_models import DriftKind, DriftRun, ProductOut
from orm_models import Database, OutboxEvent, Product, Run, RunProblem, VectorCollection
from product_search import drift, live_collections, outbox, outbox_state, runs
from product_search.activation import activate
from product_search.catalog import KEEP_IMAGE, Catalog
from product_search.drift import Options
from product_search.errors import (
    AppError,
    OutboxFull,
    RunInProgress,
    StorageUnavailable,
    VectorStoreUnavailable,
)
from product_search.images import ImageStore
from product_search.indexing import Indexer
from product_search.live_collections import LiveCollections, Role
from product_search.milvus_schema import entity_row
from product_search.reconcile import Reconciler
from product_search.run_loop import LEASE, RunContext, Stopping, carry_out
from product_search.runs import Claimed, Kind, State
from product_search.schema import migrate
from product_search.step_loop import StepLoop
from tests.contract.conftest import drop_all_tables, mysql_url
from tests.contract.entities import DIMS, entity
from tests.encoders import OnePair, quick_encoders
from tests.sessions import reading, writing
from tests.unit.pictures import age, encoded, noise
from vector_db import EntityState, MilvusStore, collection_name

PICTURE = encoded(noise((8, 8), 1), "PNG")
OTHER = encoded(noise((8, 8), 2), "PNG")
NONE = dict.fromkeys(DriftKind, 0)
UNUSED = "product_v1_0123456789ab"


class MeddledStore(MilvusStore):
    """A store that lets something happen right after the walk has read from it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "test")
        self.shared: dict[str, Any] = {"scan": None, "states": None, "asked": []}

    def scan(self, after: int, limit: int) -> list[EntityState]:
        """See VectorStore."""
        self.shared["asked"].append(limit)
        return self._meddled("scan", super().scan(after, limit))

    def states(self, milvus_ids: Sequence[int]) -> list[EntityState]:
        """See VectorStore."""
        self.shared["asked"].append(len(milvus_ids))
        return self._meddled("states", super().states(milvus_ids))

    def _meddled(self, name: str, found: list[EntityState]) -> list[EntityState]:
        meddle, self.shared[name] = self.shared[name], None
        if meddle is not None:
            meddle()
        return found


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeddledStore]:
    store = MeddledStore(tmp_path_factory.mktemp("milvus") / "milvus.db")
    yield store
    store.close()


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """Tables that the tests of this file share: making them takes longer than emptying them."""
    on_mysql = request.param == "mysql"
    file = tmp_path_factory.mktemp("catalogue") / "catalog.sqlite3"
    database = Database(mysql_url() if on_mysql else f"sqlite:///{file}")
    if on_mysql:
        drop_all_tables(database)
    migrate(database)
    yield database
    database.close()


class Shop:
    """A catalogue, its indexer and its doctor, over the stores of one test."""

    store: MeddledStore  # with the active collection open

    def __init__(self, database: Database, milvus: MeddledStore, folder: Path) -> None:
        self.database, self.milvus = database, milvus
        self.ids: list[int] = []
        self.images = ImageStore(folder / "images")
        self.collections = LiveCollections(database, milvus, OnePair(quick_encoders()))
        self.indexer = Indexer(database, self.images, self.collections)
        self._start_afresh()
        self.catalog = Catalog(database, self.images, lambda: None)
        self.is_full = False

    def _start_afresh(self) -> None:
        """Empty stores; the collection is kept where it is there, since making it takes long."""
        encoders = self.collections.encoders.chosen()
        active = collection_name(encoders.fingerprint)
        with writing(self.database) as session:
            for table in (Product, OutboxEvent, Run, RunProblem, VectorCollection):
                session.execute(delete(table))
            live_collections.add(session, encoders, Role.active)
        for name in self.milvus.collections():
            if name != active:
                self.milvus.drop_collection(name)
        self.start()
        self.store.delete([entity.milvus_id for entity in self.store.scan(-1, 1000)])
        self.store.shared.update(scan=None, states=None)
        self.store.shared["asked"].clear()

    def start(self) -> None:
        """As the service does."""
        activate(self.collections)
        store = self.collections.active().store
        assert isinstance(store, MeddledStore)
        self.store = store

    def create(self, title: str = "书包", image: bytes | None = PICTURE) -> ProductOut:
        product = self.catalog.create({"title": title}, image)
        self.ids.append(product.product_id)
        return product

    def key(self, place: int) -> int:
        """The milvus_id of the product that was made in this place, from 0."""
        return int(self.catalog.get(self.ids[place]).milvus_id)

    def index(self) -> None:
        """Apply every event."""
        while self.indexer.apply_oldest(100):
            pass

    def admit(self, _events: int) -> None:
        if self.is_full:
            raise OutboxFull("满")

    def doctor(self, page: int = 100) -> Reconciler:
        return Reconciler(self.database, self.milvus, self.images, self.admit, lambda: None, page)

    def begin(self, repair: bool = False, drop: Sequence[str] = ()) -> Claimed:
        return drift.begin(self.database, Options(repair=repair, drop=list(drop)), LEASE)

    def walk(self, repair: bool = False, drop: Sequence[str] = (), page: int = 100) -> DriftRun:
        """What a whole walk finds."""
        claimed = self.begin(repair, drop)
        context = RunContext(self.database, claimed, threading.Event())
        assert carry_out(context, self.doctor(page).handle) is State.done
        with reading(self.database) as session:
            return drift.of_run(session, claimed.id)

    def refusal(self, **options: Any) -> str | None:
        """Why a walk fails."""
        claimed = self.begin(**options)
        context = RunContext(self.database, claimed, threading.Event())
        assert carry_out(context, self.doctor().handle) is State.failed
        with reading(self.database) as session:
            return drift.run_state(session, claimed.id).error


@pytest.fixture
def shop(database: Database, milvus: MeddledStore, tmp_path: Path) -> Shop:
    return Shop(database, milvus, tmp_path)


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    """Seven products, five of them with a picture, all of them indexed."""
    for number in range(7):
        shop.create(f"书包 {number}", PICTURE if number < 5 else None)
    shop.index()
    return shop


def found(run: DriftRun) -> dict[DriftKind, int]:
    """The kinds that were found, and how often."""
    return {kind: count for kind, count in run.found.items() if count}


def write_entity(shop: Shop, key: int, **values: Any) -> None:
    """Write an entity behind the service's back."""
    shop.store.upsert([entity(key, **values)])


def lose_entity(shop: Shop) -> str:
    shop.store.delete([shop.key(2)])
    return str(shop.ids[2])


def leave_entity(shop: Shop) -> str:
    """One whose product_id is another's by now, as after a backup of the database came back."""
    write_entity(shop, 77, product_id=shop.ids[2])
    return "77"


def set_back(shop: Shop) -> str:
    write_entity(shop, shop.key(2), product_id=shop.ids[2], revision=0)
    return str(shop.ids[2])


def swap_picture(shop: Shop) -> str:
    write_entity(shop, shop.key(2), product_id=shop.ids[2], image_path="f" * 64)
    return str(shop.ids[2])


def embed_otherwise(shop: Shop) -> str:
    image_hash = shop.images.find(PICTURE)
    row = entity_row(entity(shop.key(2), product_id=shop.ids[2], image_path=image_hash), UNUSED)
    shop.store._call("upsert", shop.store._collection, data=[row])
    return str(shop.ids[2])


def forget_event(shop: Shop) -> str:
    product = shop.create()
    with writing(shop.database) as session:
        session.execute(delete(OutboxEvent))
    return str(product.product_id)


REPAIRABLE: list[tuple[DriftKind, Callable[[Shop], str]]] = [
    (DriftKind.missing, lose_entity),
    (DriftKind.orphaned, leave_entity),
    (DriftKind.stale_revision, set_back),
    (DriftKind.stale_revision, swap_picture),
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
    assert stocked.database.read(outbox_state.counts).pending == 1
    stocked.index()
    after = stocked.walk()
    assert found(after) == {}
    assert after.products == after.entities == stocked.store.count()


def test_stores_in_step_have_no_drift_however_they_are_paged(stocked: Shop) -> None:
    for page in (1, 2, 3, 7, 100):
        walked = stocked.walk(page=page)
        assert (walked.products, walked.entities, walked.found) == (7, 7, NONE)


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_every_drift_is_found_once_however_the_stores_are_paged(stocked: Shop, page: int) -> None:
    for place in (0, 1, 5):
        stocked.store.delete([stocked.key(place)])
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
    asked = stocked.store.shared["asked"]
    assert len(asked) > 7
    assert max(asked) <= 4  # suspects come from a page of rows and a page of entities


def test_what_waits_in_the_outbox_is_no_drift(stocked: Shop) -> None:
    stocked.create()
    stocked.catalog.update(stocked.ids[0], {"title": "新"}, KEEP_IMAGE)
    stocked.catalog.delete(stocked.ids[1])
    assert found(stocked.walk(repair=True)) == {}
    with writing(stocked.database) as session:
        assert len(outbox.claim(session, 100, timedelta(minutes=1)).works) == 3
    assert found(stocked.walk(repair=True)) == {}
    assert stocked.database.read(outbox_state.counts).pending == 3


def test_products_that_were_given_up_are_counted_apart(stocked: Shop) -> None:
    with writing(stocked.database) as session:
        session.execute(
            update(Product).where(Product.id == stocked.ids[0]).values(index_status="failed")
        )
    stocked.store.delete([stocked.key(0)])
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
        outbox.record(session, product, outbox.Operation.upsert)


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

    stocked.store.shared[place] = meddle
    walked = stocked.walk(repair=True)
    assert stocked.store.shared[place] is None
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
            outbox.record(session, product, outbox.Operation.upsert)

    stocked.store.shared["states"] = queue
    assert found(stocked.walk(repair=True)) == {}
    assert stocked.database.read(outbox_state.counts).pending == 1


def test_a_product_that_comes_while_the_stores_are_read_is_no_drift(stocked: Shop) -> None:
    def come() -> None:
        stocked.create("新")
        stocked.index()

    stocked.store.shared["scan"] = come
    assert found(stocked.walk(repair=True, page=3)) == {}


def test_writers_and_the_indexer_raise_no_false_alarm(stocked: Shop) -> None:
    stopping = threading.Event()
    loop = StepLoop("indexing", lambda: stocked.indexer.apply_oldest(4))
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


def test_pictures_that_no_product_names_are_deleted_once_they_are_old(stocked: Shop) -> None:
    old, young = stocked.images.save(OTHER), stocked.images.save(PICTURE + b"more")
    named = stocked.images.find(PICTURE)
    assert named is not None
    stocked.images.thumbnail(old, 64)
    for name in (old, named):
        age(stocked.images.path(name))
    walked = stocked.walk()
    assert found(walked) == {DriftKind.orphaned_picture: 1}
    assert (walked.examples[0].subject, walked.pictures) == (old, 2)
    repaired = stocked.walk(repair=True)
    assert (repaired.repaired[DriftKind.orphaned_picture], repaired.left) == (1, 0)
    assert [stocked.images.has(name) for name in (old, young, named)] == [False, True, True]
    assert not list(stocked.images.path(old).parents[2].rglob(f"*{old}*"))  # nor its thumbnail
    assert found(stocked.walk()) == {}


def test_a_picture_that_is_being_used_again_is_not_deleted(stocked: Shop) -> None:
    name = stocked.images.save(OTHER)
    age(stocked.images.path(name))
    assert stocked.catalog.keep_picture(OTHER) == name  # its row has not committed yet
    assert found(stocked.walk(repair=True)) == {}
    assert stocked.images.has(name)


def test_a_database_without_any_picture_deletes_none(shop: Shop) -> None:
    name = shop.images.save(OTHER)
    age(shop.images.path(name))
    walked = shop.walk(repair=True)
    assert (found(walked), walked.left) == ({DriftKind.orphaned_picture: 1}, 1)
    assert shop.images.has(name)


def test_a_lost_picture_is_told_and_left(stocked: Shop) -> None:
    name = stocked.images.find(PICTURE)
    assert name is not None
    stocked.images.path(name).unlink()
    walked = stocked.walk(repair=True)
    assert (found(walked), walked.left) == ({DriftKind.missing_picture: 5}, 5)
    assert stocked.database.read(outbox_state.counts).pending == 0


def test_what_can_not_be_repaired_is_left_beside_what_can(stocked: Shop) -> None:
    lose_entity(stocked)
    leave_entity(stocked)
    name = stocked.images.find(PICTURE)
    assert name is not None
    stocked.images.path(name).unlink()
    walked = stocked.walk(repair=True)
    kinds = {DriftKind.missing: 1, DriftKind.orphaned: 1, DriftKind.missing_picture: 5}
    assert (found(walked), walked.left) == (kinds, 5)
    assert walked.repaired[DriftKind.missing_picture] == 0


def test_a_collection_that_nobody_uses_is_told_and_dropped_when_named(stocked: Shop) -> None:
    for name in (UNUSED, "product_catalogue"):  # the other one is another application's
        stocked.milvus.beside().open_collection(name, DIMS)
    walked = stocked.walk(repair=True)
    assert (found(walked), walked.left) == ({DriftKind.wrong_encoder: 1}, 1)
    assert walked.examples[0].subject == UNUSED
    active = stocked.store._collection
    for name in (active, "product_catalogue", "product_v1_ffffffffffff"):
        assert UNUSED in (stocked.refusal(drop=[UNUSED, name]) or "")
    assert stocked.store.has_collection(UNUSED)
    assert stocked.walk(drop=[UNUSED]).left == 0
    assert sorted(stocked.store.collections()) == ["product_catalogue", active]
    assert found(stocked.walk()) == {}


@pytest.mark.parametrize(
    ("role", "drifted"),
    [(Role.previous, {DriftKind.missing: 7}), (Role.filling, {}), (Role.retired, {})],
)
def test_collections_that_are_kept_in_step_are_compared_and_no_others(
    stocked: Shop, role: Role, drifted: dict[DriftKind, int]
) -> None:
    stocked.milvus.beside().open_collection(UNUSED, DIMS)
    row = VectorCollection(name=UNUSED, role=role, encoder_fingerprint=UNUSED[-12:])
    with writing(stocked.database) as session:
        session.add(row)
    walked = stocked.walk(page=3)
    assert found(walked) == drifted
    assert (walked.products, walked.entities) == (7, 7)


def test_without_its_collection_every_product_is_missing_and_none_is_queued(
    stocked: Shop,
) -> None:
    stocked.store.drop_collection(stocked.store._collection)
    walked = stocked.walk(repair=True)
    assert (found(walked), walked.left) == ({DriftKind.missing: 7}, 7)
    assert stocked.database.read(outbox_state.counts).pending == 0
    stocked.start()  # once more, which makes it
    stocked.index()
    assert found(stocked.walk()) == {}


def test_a_collection_that_changes_under_the_walk_ends_it(stocked: Shop) -> None:
    def drop() -> None:
        stocked.store.drop_collection(stocked.store._collection)

    stocked.store.shared["scan"] = drop
    claimed = stocked.begin()
    context = RunContext(stocked.database, claimed, threading.Event())
    assert carry_out(context, stocked.doctor(page=2).handle) is State.failed


@pytest.mark.parametrize("away", [VectorStoreUnavailable, StorageUnavailable])
def test_a_store_that_goes_away_ends_the_walk_with_its_reason(
    stocked: Shop, away: type[AppError]
) -> None:
    def fail() -> None:
        raise away("不在了")

    stocked.store.shared["scan"] = fail
    assert stocked.refusal() == "不在了"


def test_a_walk_that_was_cut_off_goes_on_at_the_key_that_it_had_reached(stocked: Shop) -> None:
    for place in (0, 6):
        stocked.store.delete([stocked.key(place)])
    claimed = stocked.begin(repair=True)
    stopping = threading.Event()
    stocked.store.shared["scan"] = stopping.set
    with pytest.raises(Stopping):
        carry_out(RunContext(stocked.database, claimed, stopping), stocked.doctor(page=2).handle)
    with reading(stocked.database) as session:
        saved = session.get_one(Run, claimed.id)
    assert (saved.progress["products"], saved.progress["found"]) == (2, {"missing": 1})
    with writing(stocked.database) as session:
        again = runs.claim(session, [Kind.doctor], LEASE, run_id=claimed.id)
    assert again is not None
    context = RunContext(stocked.database, again, threading.Event())
    assert carry_out(context, stocked.doctor(page=2).handle) is State.done
    with reading(stocked.database) as session:
        walked = drift.of_run(session, claimed.id)
    assert (walked.products, walked.entities) == (7, 5)
    assert (found(walked), walked.left) == ({DriftKind.missing: 2}, 0)
    assert [one.subject for one in walked.examples] == [str(stocked.ids[0]), str(stocked.ids[6])]
    assert stocked.database.read(outbox_state.counts).pending == 2


def test_repairs_that_the_outbox_has_no_room_for_are_left_to_the_next_run(stocked: Shop) -> None:
    lose_entity(stocked)
    stocked.is_full = True
    walked = stocked.walk(repair=True)
    assert (found(walked), walked.left) == ({DriftKind.missing: 1}, 1)
    assert stocked.database.read(outbox_state.counts).pending == 0
    stocked.is_full = False
    assert stocked.walk(repair=True).left == 0


def test_examples_are_bounded_and_those_of_earlier_runs_forgotten(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "EXAMPLES", 3)
    keys = [stocked.key(place) for place in range(7)]
    stocked.store.delete(keys)
    for _ in range(2):
        walked = stocked.walk(page=2)
        assert found(walked) == {DriftKind.missing: 7}
        assert [one.subject for one in walked.examples] == [
            str(product_id) for product_id in stocked.ids[:3]
        ]
    with reading(stocked.database) as session:
        assert session.scalar(select(func.count()).select_from(RunProblem)) == 3


def test_one_walk_at_a_time(shop: Shop) -> None:
    queued = drift.queue(shop.database, Options())
    with pytest.raises(RunInProgress):
        drift.queue(shop.database, Options(repair=True))
    held = shop.begin()  # nobody had taken the other: its process has ended
    with reading(shop.database) as session:
        assert drift.run_state(session, queued.run_id).state == "cancelled"
    with pytest.raises(RunInProgress):
        shop.begin()
    with pytest.raises(RunInProgress):
        drift.queue(shop.database, Options())
    with writing(shop.database) as session:
        runs.finish(session, held, State.done)
        assert drift.report(session).newest is not None
    drift.queue(shop.database, Options())


def test_walks_that_are_queued_at_the_same_time_are_one(shop: Shop) -> None:
    refused: list[str] = []
    ready = threading.Barrier(4)

    def try_one() -> None:
        ready.wait()
        try:
            drift.queue(shop.database, Options())
        except RunInProgress as error:
            refused.append(error.code)

    threads = [threading.Thread(target=try_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["run_in_progress"] * 3
