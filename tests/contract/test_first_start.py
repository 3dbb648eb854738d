"""Several services that meet an empty database and an empty Milvus server at the same moment."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import text

from orm_models import Database
from product_search.bootstrap.encoders import EncoderLoader
from product_search.catalog.products import Catalog
from product_search.database.transactions import LOCK_NAME, LockPurpose
from product_search.images.store import ImageStore
from product_search.indexing import collections
from product_search.indexing.collections import LiveCollections, Role
from product_search.indexing.indexer import Indexer
from product_search.indexing.startup import open_collections
from product_search.milvus.options import MilvusOptions
from product_search.settings import Settings
from tests.contract.conftest import empty_tables, mysql_url
from tests.milvus_servers import NetworkMilvus
from tests.sessions import reading
from vector_db import MilvusDatabase

SERVICES = 4
PRODUCTS = 3


class FarDatabase(MilvusDatabase):
    """Over a slow network: what it says of a collection is old when it arrives."""

    def has_collection(self, name: str) -> bool:
        """See VectorDatabase."""
        there = super().has_collection(name)
        time.sleep(0.3)
        return there


@pytest.fixture
def indexers(network: NetworkMilvus, tmp_path: Path) -> Iterator[list[Indexer]]:
    """One for each service, with connections of its own, over products that nobody has indexed."""
    with ExitStack() as stack:
        images = ImageStore(tmp_path / "images")
        databases = [Database(mysql_url()) for _ in range(SERVICES)]
        for database in databases:
            stack.callback(database.close)
        empty_tables(databases[0])
        catalog = Catalog(databases[0], images)
        for _ in range(PRODUCTS):
            catalog.create({"title": "书包"}, None)
        options = MilvusOptions(index_type="FLAT")  # the tests' server has no HNSW
        vector_databases = [FarDatabase(network.place, "test", options) for _ in range(SERVICES)]
        for vector_database in vector_databases:
            stack.callback(vector_database.close)
        folders = EncoderLoader(Settings(encoder="starter", device="cpu"))
        yield [
            Indexer(database, images, LiveCollections(database, vector_database, folders))
            for database, vector_database in zip(databases, vector_databases, strict=True)
        ]


def test_one_collection_is_made_and_filled_once(
    indexers: list[Indexer], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    together = threading.Barrier(SERVICES)

    def start(indexer: Indexer) -> None:
        together.wait()
        open_collections(indexer.collections, is_service=True, is_alone=False)

    with ThreadPoolExecutor(SERVICES) as services:
        list(services.map(start, indexers))  # raises what any of them raised
    assert caplog.text.count("every product is queued") == 1
    rows = indexers[0].database.read(collections.fetch_live)
    active = [indexer.collections.active() for indexer in indexers]
    assert {role: row.name for role, row in rows.items()} == {Role.active: active[0].name}
    assert rows[Role.active].encoder == "starter"
    assert sum(indexer.apply_oldest(100) for indexer in indexers) == PRODUCTS
    assert [collection.entities.count() for collection in active] == [PRODUCTS] * SERVICES


@pytest.mark.parametrize("purpose", get_args(LockPurpose))
def test_the_name_of_a_lock_is_none_too_long_for_mysql(purpose: str) -> None:
    with closing(Database(mysql_url())) as database, reading(database) as session:
        name = session.scalar(text(f"SELECT {LOCK_NAME}"), {"purpose": purpose})
    assert str(name).startswith(purpose)
    assert len(str(name)) <= 64  # MariaDB would allow more
