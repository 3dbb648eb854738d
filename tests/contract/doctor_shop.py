"""A catalog with both stores and its doctor, and ways to make them drift behind its back."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from data_models import DriftKind, DriftRun, ProductOut
from orm_models import Database, OutboxEvent, Product, Run, RunProblem, VectorCollection
from product_search.catalog.products import Catalog
from product_search.drift import reports
from product_search.drift.reconciler import Reconciler
from product_search.errors import OutboxFull
from product_search.images.store import ImageStore, content_hash
from product_search.indexing import collections
from product_search.indexing.collections import LiveCollections, Role
from product_search.indexing.indexer import Indexer
from product_search.indexing.startup import open_collections
from product_search.milvus.collection import MilvusCollection
from product_search.milvus.entities import EntityState, entity_row
from product_search.milvus.schema import collection_name
from product_search.outbox.admission import OpenGate
from product_search.outbox.events import Priority
from product_search.runs import exclusive
from product_search.runs.executor import LEASE, RunContext, execute
from product_search.runs.queue import RunClaim, RunKind, RunState
from tests.contract.conftest import empty_tables, mysql_url
from tests.contract.entities import entity
from tests.encoders import OnePair, quick_encoders
from tests.sessions import reading, writing
from tests.unit.pictures import encoded, noise
from vector_db import MilvusDatabase

IMAGE = encoded(noise((8, 8), 1), "PNG")
OTHER = encoded(noise((8, 8), 2), "PNG")
NONE = dict.fromkeys(DriftKind, 0)
UNUSED = "product_v1_0123456789ab"


class MeddledCollection(MilvusCollection):
    """A collection that lets something happen right after the check has read from it."""

    shared: dict[str, Any]

    def scan(self, after: int, limit: int) -> list[EntityState]:
        """See EntityCollection."""
        self.shared["asked"].append(limit)
        return self._meddled("scan", super().scan(after, limit))

    def states(self, milvus_ids: Sequence[int]) -> list[EntityState]:
        """See EntityCollection."""
        self.shared["asked"].append(len(milvus_ids))
        return self._meddled("states", super().states(milvus_ids))

    def _meddled(self, name: str, found: list[EntityState]) -> list[EntityState]:
        meddle, self.shared[name] = self.shared[name], None
        if meddle is not None:
            meddle()
        return found


class MeddledDatabase(MilvusDatabase):
    """A file with meddled collections, which share what is to happen."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "test")
        self.shared: dict[str, Any] = {"scan": None, "states": None, "asked": []}

    def open_collection(self, name: str) -> MeddledCollection:
        """See VectorDatabase."""
        index_type = super().open_collection(name).index_type
        opened = MeddledCollection(self.connection, self.options, name, index_type)
        opened.shared = self.shared
        return opened


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeddledDatabase]:
    milvus = MeddledDatabase(tmp_path_factory.mktemp("milvus") / "milvus.db")
    yield milvus
    milvus.close()


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """Tables that the tests of this file share: making them takes longer than emptying them."""
    on_mysql = request.param == "mysql"
    file = tmp_path_factory.mktemp("catalogue") / "catalog.sqlite3"
    database = Database(mysql_url() if on_mysql else f"sqlite:///{file}")
    empty_tables(database)
    yield database
    database.close()


class SwitchGate(OpenGate):
    """A gate that refuses while `is_full` is set."""

    is_full = False

    def admit(self, events: int, priority: Priority = Priority.person) -> None:
        """See OpenGate."""
        if self.is_full:
            raise OutboxFull("满")


class Shop:
    """A catalog, its indexer and its doctor, over the stores of one test."""

    entities: MeddledCollection  # the active one

    def __init__(self, database: Database, milvus: MeddledDatabase, folder: Path) -> None:
        self.database, self.milvus = database, milvus
        self.ids: list[int] = []
        self.images = ImageStore(folder / "images")
        self.collections = LiveCollections(database, milvus, OnePair(quick_encoders()))
        self.indexer = Indexer(database, self.images, self.collections)
        self._start_afresh()
        self.catalog = Catalog(database, self.images)
        self.gate = SwitchGate()

    def _start_afresh(self) -> None:
        """Empty stores; the collection is kept where it is there, since making it takes long."""
        encoders = self.collections.encoders.load_chosen()
        active = collection_name(encoders.fingerprint)
        with writing(self.database) as session:
            for table in (Product, OutboxEvent, Run, RunProblem, VectorCollection):
                session.execute(delete(table))
            collections.add_collection(session, encoders, Role.active)
        for name in self.milvus.list_collections():
            if name != active:
                self.milvus.drop_collection(name)
        self.start()
        self.entities.delete([entity.milvus_id for entity in self.entities.scan(-1, 1000)])
        self.milvus.shared.update(scan=None, states=None)
        self.milvus.shared["asked"].clear()

    def start(self) -> None:
        """As the service does."""
        open_collections(self.collections, is_service=True, is_alone=True)
        entities = self.collections.active().entities
        assert isinstance(entities, MeddledCollection)
        self.entities = entities

    def create(self, title: str = "书包", image: bytes | None = IMAGE) -> ProductOut:
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

    def doctor(self, page: int = 100) -> Reconciler:
        return Reconciler(self.database, self.milvus, self.images, self.gate, page)

    def begin(self, repair: bool = False, drop: Sequence[str] = ()) -> RunClaim:
        wanted = {"repair": repair, "drop": list(drop)}
        return exclusive.start(self.database, RunKind.doctor, wanted, LEASE)

    def walk(self, repair: bool = False, drop: Sequence[str] = (), page: int = 100) -> DriftRun:
        """What a whole walk finds."""
        claimed = self.begin(repair, drop)
        context = RunContext(self.database, claimed, threading.Event())
        assert execute(context, self.doctor(page).handle) is RunState.done
        with reading(self.database) as session:
            return reports.fetch_run(session, claimed.id)

    def refusal(self, **options: Any) -> str | None:
        """Why a walk fails."""
        claimed = self.begin(**options)
        context = RunContext(self.database, claimed, threading.Event())
        assert execute(context, self.doctor().handle) is RunState.failed
        with reading(self.database) as session:
            return session.get_one(Run, claimed.id).error


@pytest.fixture
def shop(database: Database, milvus: MeddledDatabase, tmp_path: Path) -> Shop:
    return Shop(database, milvus, tmp_path)


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    """Seven products, five of them with an image, all of them indexed."""
    for number in range(7):
        shop.create(f"书包 {number}", IMAGE if number < 5 else None)
    shop.index()
    return shop


def found(run: DriftRun) -> dict[DriftKind, int]:
    """The kinds that were found, and how often."""
    return {kind: count for kind, count in run.found.items() if count}


def write_entity(shop: Shop, key: int, **values: Any) -> None:
    """Write an entity behind the service's back."""
    shop.entities.upsert([entity(key, **values)])


def lose_entity(shop: Shop) -> str:
    shop.entities.delete([shop.key(2)])
    return str(shop.ids[2])


def leave_entity(shop: Shop) -> str:
    """One whose product_id is another's by now, as after a backup of the database came back."""
    write_entity(shop, 77, product_id=shop.ids[2])
    return "77"


def set_back(shop: Shop) -> str:
    write_entity(shop, shop.key(2), product_id=shop.ids[2], revision=0)
    return str(shop.ids[2])


def swap_image(shop: Shop) -> str:
    write_entity(shop, shop.key(2), product_id=shop.ids[2], image_path="f" * 64)
    return str(shop.ids[2])


def embed_otherwise(shop: Shop) -> str:
    image_hash = content_hash(IMAGE)
    row = entity_row(entity(shop.key(2), product_id=shop.ids[2], image_path=image_hash), UNUSED)
    shop.entities._call("upsert", shop.entities.name, data=[row])
    return str(shop.ids[2])


def forget_event(shop: Shop) -> str:
    product = shop.create()
    with writing(shop.database) as session:
        session.execute(delete(OutboxEvent))
    return str(product.product_id)
