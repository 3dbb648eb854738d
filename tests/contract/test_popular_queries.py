"""Popular queries: counted by several processes, bounded, forgotten, and nobody's."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import SearchMode, SearchRequest, SearchResponse
from orm_models import Database, PopularQuery
from product_search.suggestions import popular_queries
from product_search.suggestions.popular_queries import MIN_SEARCHES, WINDOW, PopularQueries
from tests.contract.clock import Clock

DAY_S = 24 * 3600.0


@pytest.fixture
def clock() -> Clock:
    """The database's."""
    return Clock()


def counted(popular: PopularQueries, text: str, times: int = 1) -> None:
    """Ask so often, each time after what was asked before has been written."""
    for _ in range(times):
        popular.count(text)
        popular.write()


def suggested(popular: PopularQueries, typed: str = "") -> list[str]:
    popular.read()
    return [found.text for found in popular.suggestions.find(typed, 10)]


def rows(database: Database) -> list[tuple[object, ...]]:
    def fetch(session: Session) -> list[tuple[object, ...]]:
        columns = PopularQuery.text, PopularQuery.day, PopularQuery.searches
        return [tuple(row) for row in session.execute(select(*columns))]

    return database.read(fetch)


def test_what_several_processes_are_asked_adds_up(database: Database, clock: Clock) -> None:
    one, other = (PopularQueries(database, clock=clock) for _ in range(2))
    counted(one, "蓝牙耳机", MIN_SEARCHES - 1)
    assert suggested(one) == []
    counted(other, "蓝牙耳机")
    assert suggested(one) == suggested(other) == ["蓝牙耳机"]
    assert suggested(one, "lany") == suggested(one, "erji") == ["蓝牙耳机"]
    assert rows(database) == [("蓝牙耳机", clock.now.date(), MIN_SEARCHES)]


def test_the_same_query_over_and_over_counts_once_until_it_is_written(
    database: Database, clock: Clock
) -> None:
    popular = PopularQueries(database, clock=clock)
    for text in ("蓝牙耳机", "蓝牙耳机", " 蓝牙耳机 ", "藍牙耳機"):
        popular.count(text)
    popular.write()
    assert [searches for *_, searches in rows(database)] == [1]


def test_what_was_asked_more_often_comes_first(database: Database, clock: Clock) -> None:
    popular = PopularQueries(database, clock=clock)
    counted(popular, "女包", MIN_SEARCHES)
    counted(popular, "男包", 2 * MIN_SEARCHES)
    assert suggested(popular) == ["男包", "女包"]


def test_what_is_no_longer_asked_is_forgotten(database: Database, clock: Clock) -> None:
    popular = PopularQueries(database, clock=clock)
    counted(popular, "月饼", MIN_SEARCHES)
    clock.pass_by(WINDOW.days * DAY_S - DAY_S)
    assert suggested(popular) == ["月饼"]
    clock.pass_by(DAY_S)
    assert suggested(popular) == []
    counted(popular, "粽子")
    assert [text for text, *_ in rows(database)] == ["粽子"]


@pytest.mark.parametrize(
    "text",
    [
        "zhang@example.com",
        "13812345678",
        "138 1234 5678",
        "https://example.com/a",
        "x",
        "，。！",
        "长" * 41,
    ],
)
def test_what_may_be_somebodys_or_is_no_query_is_not_kept(
    database: Database, clock: Clock, text: str
) -> None:
    counted(PopularQueries(database, clock=clock), text)
    assert rows(database) == []


def test_there_are_never_more_rows_than_the_bound(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(popular_queries, "_MOST_ROWS", 3)
    popular = PopularQueries(database, clock=clock)
    counted(popular, "雨伞", 2)
    clock.pass_by(DAY_S)
    for text in ("背包", "钱包", "书包", "腰包"):
        counted(popular, text)
    kept = {str(text) for text, *_ in rows(database)}
    assert len(kept) == 3
    assert "雨伞" in kept


def test_switched_off_nothing_is_counted_and_what_was_counted_goes(
    database: Database, clock: Clock
) -> None:
    for times in (MIN_SEARCHES, 1):  # popular, and not yet
        counted(PopularQueries(database, clock=clock), "雨伞", times)
        off = PopularQueries(database, are_counted=False, clock=clock)
        counted(off, "背包", MIN_SEARCHES)
        assert suggested(off) == []
        assert rows(database) == []


@pytest.mark.parametrize(
    ("also", "count"),
    [
        ({}, 1),
        ({"product_id": 1}, 0),
        ({"generation": {"generation_id": 1}}, 0),
        ({"parts": [{"text": "手套", "weight": -1}]}, 0),
    ],
)
def test_only_a_text_alone_is_counted(
    database: Database, clock: Clock, also: dict[str, Any], count: int
) -> None:
    popular = PopularQueries(database, clock=clock)
    response: dict[str, Any] = {"mode": SearchMode.hybrid, "hits": ["an umbrella"]}
    found = SearchResponse.model_construct(**response, min_confidence=None)
    popular.note(SearchRequest.model_validate({"text": "雨伞"} | also), found)
    popular.write()
    assert len(rows(database)) == count


def test_what_waits_in_memory_is_bounded(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(popular_queries, "_MOST_WAITING", 2)
    popular = PopularQueries(database, clock=clock)
    for text in ("雨伞", "背包", "钱包"):
        popular.count(text)
    popular.write()
    assert len(rows(database)) == 2
