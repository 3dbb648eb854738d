"""The breaker: closed until Milvus is away, and again once it was reached."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from product_search.errors import VectorStoreUnavailable
from product_search.milvus import breaker
from product_search.milvus.breaker import Breaker
from tests.clock import until

REASON = "向量库暂时不可用"


class Milvus:
    """A Milvus that is away until it is brought back."""

    def __init__(self) -> None:
        self.is_back = threading.Event()
        self.attempts = 0

    def reach(self) -> None:
        self.attempts += 1
        if not self.is_back.is_set():
            raise VectorStoreUnavailable(REASON)


@pytest.fixture
def milvus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Milvus]:
    monkeypatch.setattr(breaker, "PAUSE_S", 0.01)
    milvus = Milvus()
    yield milvus
    milvus.is_back.set()


def is_closed(one: Breaker) -> bool:
    with suppress(VectorStoreUnavailable):
        one.check()
        return True
    return False


def test_calls_fail_from_the_first_failure_until_milvus_is_reached(milvus: Milvus) -> None:
    between = Breaker(milvus.reach)
    assert is_closed(between)
    between.open(REASON)
    between.open("another reason")
    until(lambda: milvus.attempts > 3, "some attempts")
    with pytest.raises(VectorStoreUnavailable, match=REASON):
        between.check()
    assert [one.name for one in threading.enumerate()].count("milvus breaker") == 1
    milvus.is_back.set()
    until(lambda: is_closed(between), "the return")


def test_a_breaker_that_has_ended_looks_for_nothing(milvus: Milvus) -> None:
    between = Breaker(milvus.reach)
    between.end()
    between.open(REASON)
    assert is_closed(between)
    assert milvus.attempts == 0
