"""Threads that leave the processors to others: those of pictures, and no others."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import Request

from product_search.api.threads import RequestThreads
from product_search.batching import Batcher, gather
from product_search.priority import NICENESS, give_way, giving_way
from tests.loops import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ranks single threads")


def niceness() -> int:
    """The calling thread's."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_only_the_thread_that_says_so_gives_way() -> None:
    usual = niceness()
    with ThreadPoolExecutor(1, initializer=give_way) as thread:
        assert thread.submit(niceness).result() == NICENESS
    assert niceness() == usual


def test_threads_started_while_something_is_made_give_way_too() -> None:
    usual = niceness()

    def make() -> list[int]:
        with ThreadPoolExecutor(1) as inner:
            return [niceness(), inner.submit(niceness).result()]

    assert giving_way(make) == [NICENESS, NICENESS]
    assert niceness() == usual


@pytest.mark.parametrize("gives_way", [False, True])
def test_a_queue_runs_its_batches_as_it_is_told(gives_way: bool) -> None:
    def run(items: Sequence[int]) -> list[int]:
        return [niceness() for _ in items]

    batcher: Batcher[int, int] = Batcher(
        "queue", run, max_cost=4, max_waiting=4, gives_way=gives_way
    )
    expected = NICENESS if gives_way else niceness()
    assert gather(batcher.submit([0, 0])) == [expected] * 2


def test_requests_with_pictures_give_way_to_those_of_texts() -> None:
    async def ask(threads: RequestThreads) -> int:
        return await threads.run(Request({"type": "http"}), niceness)

    assert run(ask(RequestThreads())) == niceness()
    assert run(ask(RequestThreads.for_pictures())) == NICENESS
    assert run(ask(RequestThreads.for_many_pictures("match_threads"))) == NICENESS
