"""Column types that are exact on every database, and primary keys that only grow."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from sqlalchemy import Dialect, select, text
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateTable

from data_models import INT64_MAX, ListSort
from orm_models import (
    Base,
    Database,
    Product,
)
from product_search.bootstrap.migrate import migrate
from product_search.catalog.listing import is_called, list_segments
from product_search.database.column_types import Money, UtcDateTime
from product_search.database.primary_keys import PrimaryKeySource
from product_search.errors import DatabaseUnavailable
from tests.sessions import reading, writing

DIALECTS: list[Dialect] = [sqlite.dialect(), mysql.dialect()]
AMOUNTS = st.decimals(min_value=0, max_value=Decimal("9999999999.99"), places=2)


def test_primary_keys_only_grow_and_fit_in_63_bits() -> None:
    source = PrimaryKeySource()
    keys = [source.draw() for _ in range(5_000)]
    assert all(one < other for one, other in pairwise(keys))
    assert keys[0] > 0
    assert keys[-1] <= INT64_MAX


def test_primary_keys_of_many_threads_differ() -> None:
    source = PrimaryKeySource()
    keys: list[int] = []
    threads = [
        threading.Thread(target=lambda: keys.extend(source.draw() for _ in range(500)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == len(keys) == 4_000


def test_primary_keys_grow_even_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    source = PrimaryKeySource()
    first = source.draw()
    earlier = time.time_ns() - 3_600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: earlier)
    assert source.draw() > first


def test_primary_keys_are_in_the_order_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    first = PrimaryKeySource().draw()
    later = time.time_ns() + 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert PrimaryKeySource().draw() > first


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@given(amount=AMOUNTS)
def test_an_amount_goes_in_and_out_exactly(dialect: Dialect, amount: Decimal) -> None:
    money = Money()
    kept = money.process_bind_param(amount, dialect)
    assert money.process_result_value(kept, dialect) == amount
    assert str(money.process_result_value(kept, dialect)) == f"{amount:.2f}"


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_nothing_stays_nothing(dialect: Dialect) -> None:
    for kind in (Money(), UtcDateTime()):
        assert kind.process_bind_param(None, dialect) is None
        assert kind.process_result_value(None, dialect) is None


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 (hypothesis adds the zone itself)
        max_value=datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.sampled_from(
            [UTC, timezone(timedelta(hours=8)), timezone(-timedelta(hours=9))]
        ),
    )
)
def test_a_time_comes_back_the_same_moment_in_utc(moment: datetime) -> None:
    kind = UtcDateTime()
    kept = kind.process_bind_param(moment, DIALECTS[0])
    assert kept is not None
    assert kept.tzinfo is None
    back = kind.process_result_value(kept, DIALECTS[0])
    assert back == moment
    assert back is not None
    assert back.utcoffset() == timedelta(0)


def test_mysql_keeps_what_sqlite_keeps() -> None:
    written = str(CreateTable(Product.__table__).compile(dialect=mysql.dialect()))  # type: ignore[arg-type]
    assert "DATETIME(6)" in written
    assert "NUMERIC(12, 2)" in written
    assert "CHARSET=utf8mb4" in written
    assert "BIGINT" in written


def test_tables_are_made_once_and_again(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    migrate(database)
    with writing(database) as session:
        session.add(Product(title="书包"))
    migrate(database)
    with reading(database) as session:
        assert session.scalars(select(Product.title)).all() == ["书包"]
    database.close()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    migrate(database)

    def write_and_fail(session: Session) -> None:
        session.add(Product(title="书包"))
        session.flush()
        raise KeyError("no")

    with pytest.raises(KeyError):
        database.write(write_and_fail)
    with reading(database) as session:
        assert session.scalars(select(Product)).all() == []
    database.close()


def test_a_broken_constraint_is_the_callers_to_handle(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    migrate(database)

    def write_twice(session: Session) -> None:
        session.add_all([Product(title="一", sku="A"), Product(title="二", sku="A")])

    with pytest.raises(IntegrityError):
        database.write(write_twice)
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nowhere/at/all/catalog.sqlite3",
        "mysql+pymysql://nobody:no@127.0.0.1:1/none",
    ],
)
def test_a_database_that_can_not_be_reached_is_unavailable(url: str) -> None:
    database = Database(url)
    with pytest.raises(DatabaseUnavailable) as caught:
        database.ping()
    assert caught.value.code == "database_unavailable"
    assert "nobody" not in caught.value.message
    with pytest.raises(DatabaseUnavailable):
        migrate(database)
    database.close()


@pytest.mark.parametrize("sort", ListSort)
def test_every_order_breaks_ties_by_id(sort: ListSort) -> None:
    for segment in list_segments(sort):
        assert "product.id" in str(segment.order[-1])


def test_a_part_of_a_title_is_a_parameter_and_no_pattern() -> None:
    written = str(is_called("50%_off'").compile(dialect=mysql.dialect()))
    assert "50%" not in written
    assert "LIKE" not in written.upper()


def test_every_table_is_known_to_the_metadata() -> None:
    assert {"product", "outbox_event", "vector_collection"} <= set(Base.metadata.tables)


def test_on_sqlite_a_write_begins_when_the_one_before_has_ended(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    migrate(database)
    at_work: list[int] = []
    together: list[int] = []

    def work(session: Session) -> None:
        at_work.append(1)
        together.append(len(at_work))
        session.execute(text("SELECT 1"))
        at_work.pop()

    threads = [threading.Thread(target=database.write, args=(work,)) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1] * 30
    database.close()
