"""The stores that the suites run on: SQLite, and MySQL where the environment names one; Milvus in
a file and over the network, and a Milvus server where the environment names one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from sqlalchemy import URL, MetaData, create_engine, make_url, text

from orm_models import Base, Database
from product_search.bootstrap.migrate import current_revision, head_revision, migrate
from product_search.milvus.options import IndexType, MilvusOptions, MilvusServer
from tests.milvus_servers import NetworkMilvus
from vector_db import MilvusDatabase, VectorDatabase

MYSQL_URL = "PRODUCT_SEARCH_TEST_DATABASE_URL"
# A real server for the suite of VectorDatabase, which drops and makes collections in it.
MILVUS_URI = "PRODUCT_SEARCH_TEST_MILVUS_URI"
MILVUS_TOKEN = "PRODUCT_SEARCH_TEST_MILVUS_TOKEN"
# Its index, where that is to be another than a server's default (Milvus Lite's server: FLAT).
MILVUS_INDEX_TYPE = "PRODUCT_SEARCH_TEST_MILVUS_INDEX_TYPE"
MILVUSES = ["milvus_lite", "milvus_network"] + ["milvus_given"] * (MILVUS_URI in os.environ)
_made: set[URL] = set()  # databases with tables of this run
COLLECTIONS = [f"product_v1_{letter * 12}" for letter in "0abcdef"]


def mysql_url() -> str:
    """The server's URL; without one the test is skipped, or fails where CI has to have one."""
    url = os.environ.get(MYSQL_URL, "")
    if url:
        return _own_database(url)
    reason = f"{MYSQL_URL} names no MySQL (mysql+pymysql://…)"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI is set: the MySQL suite must run")
    pytest.skip(reason)


@cache
def _own_database(url: str) -> str:
    """The URL with a database of this test process's own, where several run side by side."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return url
    given = make_url(url)
    own = given.set(database=f"{given.database}_{worker}")
    engine = create_engine(given)
    with engine.begin() as connection:
        connection.execute(
            text(f"CREATE DATABASE IF NOT EXISTS {own.database} CHARACTER SET utf8mb4")
        )
    engine.dispose()
    return own.render_as_string(hide_password=False)


def given_index_type() -> IndexType | None:
    """The index for the server that the environment names; None for the default."""
    return TypeAdapter(IndexType | None).validate_python(os.environ.get(MILVUS_INDEX_TYPE) or None)


def drop_all_tables(database: Database) -> None:
    """As a new database is, whatever release made the tables."""
    there = MetaData()
    there.reflect(database.engine)
    there.drop_all(database.engine)


def empty_tables(database: Database) -> None:
    """As a new database is that was migrated; tables that this run made are emptied: it is quicker.

    Ids begin at 1.
    """
    url = database.engine.url
    if url not in _made or current_revision(database) != head_revision():
        drop_all_tables(database)
        migrate(database)
        _made.add(url)
        return
    with database.engine.connect() as connection:
        for name in Base.metadata.tables:
            made = connection.execute(text(f"SHOW CREATE TABLE {name}")).one()[1]
            # To truncate takes much longer than to delete, but ids begin anew.
            how = "TRUNCATE TABLE" if "AUTO_INCREMENT=" in made else "DELETE FROM"
            connection.execute(text(f"{how} {name}"))
        connection.commit()


@pytest.fixture(params=["sqlite", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with empty tables."""
    on_mysql = request.param == "mysql"
    database = Database(mysql_url() if on_mysql else f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    empty_tables(database)
    yield database
    database.close()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkMilvus]:
    """A Milvus that is reached over the network."""
    milvus = NetworkMilvus(tmp_path_factory.mktemp("network"))
    yield milvus
    milvus.kill()


@pytest.fixture(scope="module", params=MILVUSES)
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VectorDatabase]:
    """A vector database without any of COLLECTIONS."""
    place: Path | MilvusServer
    options = MilvusOptions()
    if request.param == "milvus_lite":
        place = tmp_path_factory.mktemp("milvus") / "milvus.db"
    elif request.param == "milvus_network":
        place = request.getfixturevalue("network").place
        options = MilvusOptions(index_type="FLAT")  # a server's HNSW is not known to it
    else:
        place = MilvusServer(os.environ[MILVUS_URI], os.environ.get(MILVUS_TOKEN, ""))
        options = MilvusOptions(index_type=given_index_type())
    backend = MilvusDatabase(place, "http://here:8000", options)
    for name in COLLECTIONS:
        backend.drop_collection(name)
    yield backend
    backend.close()
