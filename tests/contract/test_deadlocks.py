"""Transactions that MySQL ends for another's sake: done again as a whole, a few times."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from orm_models import Database, OutboxEvent, Product
from product_search.catalog.rows import insert_product
from product_search.errors import DatabaseUnavailable
from tests.contract.conftest import empty_tables, mysql_url
from tests.sessions import reading, writing

DEADLINE_S = 60


@pytest.fixture
def database() -> Iterator[Database]:
    """On the server, with products 1 and 2 at price 0."""
    database = Database(mysql_url())
    empty_tables(database)
    with writing(database) as session:
        for _ in range(2):
            insert_product(session, {"title": "书包", "price": Decimal(0)})
    yield database
    database.close()


def add_one(session: Session, product_id: int) -> None:
    session.execute(update(Product).where(Product.id == product_id).values(price=Product.price + 1))


def prices(database: Database) -> list[Decimal | None]:
    with reading(database) as session:
        return list(session.scalars(select(Product.price).order_by(Product.id)))


def saved(database: Database) -> tuple[int, int]:
    """How many products and events there are."""
    with reading(database) as session:
        products = session.scalar(select(func.count()).select_from(Product))
        events = session.scalar(select(func.count()).select_from(OutboxEvent))
    return products or 0, events or 0


def crossing(
    first: int, second: int, both_hold_one: threading.Barrier, runs: list[int]
) -> Callable[[Session], None]:
    """Work that locks two products one after the other; the first time, beside its opposite."""

    def work(session: Session) -> None:
        runs.append(first)
        add_one(session, first)
        if runs.count(first) == 1:
            both_hold_one.wait(DEADLINE_S)
        add_one(session, second)

    return work


def test_the_victim_of_a_deadlock_is_done_again_and_each_change_happens_once(
    database: Database,
) -> None:
    runs: list[int] = []
    barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        for one in [
            pool.submit(database.write, crossing(1, 2, barrier, runs)),
            pool.submit(database.write, crossing(2, 1, barrier, runs)),
        ]:
            one.result(DEADLINE_S)
    assert len(runs) > 2  # one of them was a victim
    assert prices(database) == [2, 2]


def test_a_read_that_locks_is_done_again_too(database: Database) -> None:
    runs: list[int] = []
    assert database.read(fails_first(2, runs, 1213)) == 2
    assert len(runs) == 3


def fails_first(times: int, runs: list[int], number: int) -> Callable[[Session], int]:
    """Work that the server ends so many times with this error."""

    def work(session: Session) -> int:
        runs.append(number)
        insert_product(session, {"title": "手机壳"})
        if len(runs) <= times:
            session.execute(text(f"SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = {number}"))
        return session.scalar(select(func.count()).select_from(Product).where(Product.id < 3)) or 0

    return work


def test_a_transaction_that_loses_every_time_is_told_and_leaves_nothing(
    database: Database,
) -> None:
    runs: list[int] = []
    with pytest.raises(DatabaseUnavailable):
        database.write(fails_first(100, runs, 1213))
    assert len(runs) == 4
    assert saved(database) == (2, 2)


def test_a_row_that_changed_since_the_transaction_read_it_is_read_again(
    database: Database,
) -> None:
    """As MariaDB does from 11.6 on: innodb_snapshot_isolation."""
    with reading(database) as session:
        if not session.execute(text("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")).all():
            pytest.skip("MySQL itself has no such setting: it goes on with the changed row")
    runs: list[int] = []

    def work(session: Session) -> None:
        session.execute(text("SET innodb_snapshot_isolation = ON"))
        runs.append(1)
        session.scalar(select(Product.price).where(Product.id == 1))
        if len(runs) == 1:
            with writing(database) as other:
                add_one(other, 1)
        add_one(session, 1)
        session.execute(text("SET innodb_snapshot_isolation = OFF"))

    database.write(work)
    assert len(runs) == 2
    assert prices(database) == [2, 0]


def test_a_lock_that_does_not_come_undoes_all_of_the_work_and_is_told(
    database: Database,
) -> None:
    """MySQL itself undoes the last statement alone."""
    runs: list[int] = []

    def work(session: Session) -> None:
        session.execute(text("SET innodb_lock_wait_timeout = 1"))
        runs.append(1)
        insert_product(session, {"title": "手机壳"})
        add_one(session, 1)

    with writing(database) as holder:
        add_one(holder, 1)
        with pytest.raises(DatabaseUnavailable):
            database.write(work)
    assert len(runs) == 1  # it has waited long enough
    assert saved(database) == (2, 2)
    database.write(add_one, 1)
    assert prices(database) == [2, 0]
