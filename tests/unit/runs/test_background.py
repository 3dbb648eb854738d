"""Pauses of a loop: how long they are, and what ends them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from orm_models import Database
from product_search.errors import DatabaseUnavailable
from product_search.runs import executor
from product_search.runs.background import Loop
from product_search.runs.executor import RunExecutor
from product_search.runs.queue import RunKind

LONG_S = 60.0


class Store:
    """A store that is down: counts how often it was asked."""

    def __init__(self) -> None:
        """Begin with no question."""
        self.asked = threading.Semaphore(0)

    def read(self, *_arguments: Any) -> int:
        """Refuse, as a database does that does not answer."""
        self.asked.release()
        raise DatabaseUnavailable("数据库不可用")


@contextmanager
def started(loop: Loop | RunExecutor) -> Iterator[None]:
    loop.start()
    try:
        yield
    finally:
        loop.stop()


def wait_for_a_pause(caplog: pytest.LogCaptureFixture) -> str:
    """Return the last line of the log once there is one: it is written before the pause."""
    for _ in range(500):
        if caplog.messages:
            return caplog.messages[-1]
        threading.Event().wait(0.01)
    raise AssertionError("no pause")


@pytest.fixture(autouse=True)
def _long_pauses(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("product_search.runs.background.POLL_S", LONG_S)
    monkeypatch.setattr(executor, "POLL_S", LONG_S)
    caplog.set_level(logging.WARNING)


def test_an_enqueued_run_ends_the_pause_of_the_executor(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    runs = RunExecutor(cast(Database, store), {RunKind.import_: lambda _context: None})
    with started(runs):
        assert store.asked.acquire(timeout=5)
        assert wait_for_a_pause(caplog).startswith("the executor of import runs pauses for ")
        runs.wake()
        assert store.asked.acquire(timeout=5)


def test_writes_end_no_pause_of_indexing(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    loop = Loop("indexing", store.read)
    with started(loop):
        assert store.asked.acquire(timeout=5)
        assert wait_for_a_pause(caplog).startswith("indexing pauses for ")
        assert loop.failure
        loop.wake()
        assert not store.asked.acquire(timeout=0.3)
