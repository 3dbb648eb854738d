"""The databases that the suites run on: SQLite always, MySQL where the environment names one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import MetaData

from orm_models import Database
from product_search.schema import migrate

MYSQL_URL = "PRODUCT_SEARCH_TEST_DATABASE_URL"


def mysql_url() -> str:
    """The server's URL; without one the test is skipped, or fails where CI has to have one."""
    url = os.environ.get(MYSQL_URL, "")
    if url:
        return url
    reason = f"{MYSQL_URL} names no MySQL (mysql+pymysql://…)"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI is set: the MySQL suite must run")
    pytest.skip(reason)


def drop_all_tables(database: Database) -> None:
    """As a new database is, whatever release made the tables."""
    there = MetaData()
    there.reflect(database.engine)
    there.drop_all(database.engine)


@pytest.fixture(params=["sqlite", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with empty tables."""
    on_mysql = request.param == "mysql"
    database = Database(mysql_url() if on_mysql else f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    if on_mysql:
        drop_all_tables(database)
    migrate(database)
    yield database
    database.close()
