"""The pulse of a store: one ping at a time, and nobody waits long for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NoReturn

import pytest

from product_search.api import pulse
from product_search.api.pulse import Pulse
from product_search.errors import VectorStoreUnavailable
from tests.clock import until


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """What a ping of a store that hangs waits for."""
    event = threading.Event()
    yield event
    event.set()


def answer() -> None:
    """The ping of a store that answers."""


def test_a_store_that_answers_is_felt() -> None:
    assert Pulse().is_felt(answer)


def test_a_store_that_hangs_is_not_felt_and_is_pinged_once(
    hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "PATIENCE_S", 0.0)
    pings: list[None] = []

    def ping() -> None:
        pings.append(None)
        hanging.wait()

    felt = Pulse()
    assert [felt.is_felt(ping) for _ in range(3)] == [False] * 3
    until(lambda: pings, "the ping")
    assert len(pings) == 1
    hanging.set()
    monkeypatch.setattr(pulse, "PATIENCE_S", 60.0)
    until(lambda: felt.is_felt(answer), "the return")


def test_a_store_that_is_down_is_not_felt() -> None:
    def fail() -> NoReturn:
        raise VectorStoreUnavailable(VectorStoreUnavailable.example)

    assert not Pulse().is_felt(fail)


def test_a_mistake_in_the_ping_is_told() -> None:
    def fail() -> NoReturn:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Pulse().is_felt(fail)
