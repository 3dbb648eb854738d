"""A claim among many events reads a few of them along an index, EXPLAIN says, and sorts nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import insert, text

from orm_models import Database, OutboxEvent
from product_search.outbox import counts, events
from product_search.outbox.events import ClaimPolicy, Priority
from tests.contract.conftest import empty_tables, mysql_url
from tests.contract.plans import PRIMARY, Plan, plans_of

IMPORTED, WRITTEN = 20_000, 50
LIMIT = 64
BY_PRIORITY, BY_PRODUCT = "ix_outbox_event_priority", "ix_outbox_event_product"


def event(number: int) -> dict[str, Any]:
    """The last few are people's."""
    priority = Priority.background if number < IMPORTED else Priority.person
    return {
        "product_id": number,
        "milvus_id": number,
        "operation": "upsert",
        "revision": 1,
        "priority": priority.value,
    }


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """One whose outbox is full of an import."""
    folder = tmp_path_factory.mktemp("plans")
    on_mysql = request.param == "mysql"
    database = Database(mysql_url() if on_mysql else f"sqlite:///{folder / 'catalog.sqlite3'}")
    empty_tables(database)
    rows = [event(number) for number in range(1, IMPORTED + WRITTEN)]
    database.write(lambda session: session.execute(insert(OutboxEvent), rows))
    if on_mysql:  # what InnoDB does by itself, some seconds later
        database.read(lambda session: session.execute(text("ANALYZE TABLE outbox_event")).all())
    yield database
    database.close()


def plans(database: Database, work: Callable[[], object]) -> list[Plan]:
    """Those of the outbox: a server is asked for its clock too."""
    return [one for one in plans_of(database.engine, work) if "outbox_event" in one.statement]


def test_a_claim_walks_the_index_of_each_priority(database: Database) -> None:
    urgent, others, *_ = plans(database, lambda: database.write(events.claim, LIMIT, ClaimPolicy()))
    assert urgent.indexes == {BY_PRIORITY, BY_PRODUCT}, urgent
    assert BY_PRODUCT in others.indexes, others
    # An import is most of the table, so that its primary key leads as fast to it.
    assert others.indexes - {BY_PRODUCT} <= {BY_PRIORITY, PRIMARY}, others
    assert not urgent.sorts, urgent
    assert not others.sorts, others


def test_what_is_urgent_is_found_and_counted_by_the_index(database: Database) -> None:
    (found,) = plans(database, lambda: database.read(events.find_urgent, LIMIT, ClaimPolicy()))
    assert (found.indexes, found.sorts) == ({BY_PRIORITY, BY_PRODUCT}, False), found
    (counted,) = plans(
        database, lambda: database.read(counts.count_up_to, 100_000, Priority.person)
    )
    assert (counted.indexes, counted.scans) == ({BY_PRIORITY}, False), counted
