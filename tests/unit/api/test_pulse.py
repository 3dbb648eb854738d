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


def test_a_store_that_answers_has_no_fault() -> None:
    assert Pulse().find_fault(answer) is None


def test_a_store_that_hangs_is_told_and_pinged_once(
    hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "PATIENCE_S", 0.0)
    pings: list[None] = []

    def ping() -> None:
        pings.append(None)
        hanging.wait()

    felt = Pulse()
    assert [felt.find_fault(ping) for _ in range(3)] == [pulse.HANGS] * 3
    until(lambda: pings, "the ping")
    assert len(pings) == 1
    hanging.set()
    monkeypatch.setattr(pulse, "PATIENCE_S", 60.0)
    until(lambda: felt.find_fault(answer) is None, "the return")


def test_a_store_that_is_down_says_why() -> None:
    def fail() -> NoReturn:
        raise VectorStoreUnavailable(VectorStoreUnavailable.example)

    assert Pulse().find_fault(fail) == VectorStoreUnavailable.example


def test_a_mistake_in_the_ping_is_told() -> None:
    def fail() -> NoReturn:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Pulse().find_fault(fail)
