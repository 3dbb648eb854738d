"""A SQLite file that is damaged or locked: the database is unavailable, and says no more."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from data_models import ProductListQuery
from orm_models import Database, Product
from product_search.bootstrap.migrate import migrate
from product_search.catalog.products import KEEP_IMAGE, Catalog
from product_search.database import transactions
from product_search.errors import DatabaseUnavailable
from product_search.images.store import ImageStore
from tests.sessions import reading, writing

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    """A SQLite catalog with some products."""
    database = Database(f"sqlite:///{path}")
    migrate(database)
    with writing(database) as session:
        session.add_all(Product(title=f"书包 {number}" * 20) for number in range(200))
    yield database
    database.close()


@pytest.fixture
def catalog(database: Database, tmp_path: Path) -> Catalog:
    return Catalog(database, ImageStore(tmp_path / "images"))


def _noise(content: bytes) -> bytes:
    return random.Random(0).randbytes(len(content))


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "all": _noise,
    "all but the first page": lambda content: content[:PAGE] + _noise(content)[PAGE:],
    "the first page": lambda content: content[:100] + _noise(content)[100:PAGE] + content[PAGE:],
    "the second half": lambda content: content[: len(content) // 2 // PAGE * PAGE],
    "nothing left": lambda _content: b"",
}


@pytest.fixture(params=DAMAGES)
def damaged(request: pytest.FixtureRequest, catalog: Catalog, path: Path) -> Catalog:
    """The catalog over its file with these bytes lost."""
    catalog.database.close()
    content = path.read_bytes()
    assert len(content) > 8 * PAGE
    path.write_bytes(DAMAGES[request.param](content))
    return catalog


def test_reads_of_a_damaged_file_are_told_as_unavailable(damaged: Catalog) -> None:
    for use in (
        lambda: damaged.list(ProductListQuery(page_size=100)),
        lambda: damaged.list(ProductListQuery(q="书")),
        lambda: damaged.get(199),
    ):
        with pytest.raises(DatabaseUnavailable) as caught:
            use()
        assert caught.value.code == "database_unavailable"


def test_writes_to_a_damaged_file_are_told_as_unavailable(damaged: Catalog) -> None:
    for use in (
        lambda: damaged.create({"title": "书包"}, None),
        lambda: damaged.update(199, {"title": "新"}, KEEP_IMAGE),
        lambda: damaged.delete(199),
    ):
        with pytest.raises(DatabaseUnavailable):
            use()


def test_a_folder_in_place_of_the_file_is_told_as_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}")
    with pytest.raises(DatabaseUnavailable):
        migrate(database)
    database.close()


def add(database: Database, title: str) -> None:
    database.write(lambda session: session.add(Product(title=title)))


def test_a_write_that_waits_too_long_for_another_is_told_as_unavailable(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "SQLITE_WAIT_S", 1)
    impatient = Database(f"sqlite:///{path}")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable) as caught:
            add(impatient, "书包")
        assert caught.value.code == "database_unavailable"
        with reading(database) as session:
            assert session.scalar(select(Product.id).limit(1)) is not None
        other.execute("ROLLBACK")
    add(impatient, "帽子")
    impatient.close()
    with reading(database) as session:
        titles = session.scalars(select(Product.title).order_by(Product.id.desc()).limit(2)).all()
    assert titles[0] == "帽子"
    assert titles[1] != "书包"
