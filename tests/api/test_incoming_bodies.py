"""Bodies that come slowly, or many at once: refused in time, within one memory for all."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from product_search.api.connections import Patience
from product_search.api.incoming import BodyLimits
from tests.api.serving import Served, served
from tests.api.small_app import (
    LONG,
    MB,
    WRITTEN_ELSEWHERE,
    answered,
    ask,
    connected,
    drip,
    post,
    small_app,
)
from tests.clock import until

HASTE = BodyLimits(pause_s=1.0, least_rate=1000, whole_s=1.5, drain_s=0.3)
HALF = post("/size", b"a" * MB, announced=2 * MB)
LITTLE = BodyLimits(held=2 * MB, uncounted=1000, room_s=0.1, settled_s=1.0)


@pytest.fixture(scope="module")
def hasty() -> Iterator[Served]:
    """A server that waits for bodies for a short time."""
    with served(small_app(Patience(head_s=0.5, look_s=0.05), limits=HASTE), keep_alive_s=1) as one:
        yield one


@pytest.mark.parametrize("path", ["/size", WRITTEN_ELSEWHERE])
@pytest.mark.parametrize("begun", [b"", b"half"])
def test_a_body_that_stops_coming_is_given_up(hasty: Served, path: str, begun: bytes) -> None:
    with connected(hasty.port, post(path, begun, announced=100)) as client:
        status, body = answered(client)
    assert (status, body["code"]) == (408, "request_timeout")


@pytest.mark.parametrize("path", ["/size", WRITTEN_ELSEWHERE])
def test_a_body_that_comes_too_slowly_is_given_up(hasty: Served, path: str) -> None:
    with connected(hasty.port, post(path, b"a" * MB, announced=10 * MB)) as client:
        assert b'"request_timeout"' in drip(client, b"a")


def test_a_body_in_memory_has_a_whole_time_and_one_on_disk_has_none(hasty: Served) -> None:
    with connected(hasty.port, post("/size", b"", announced=MB)) as client:
        assert b'"request_timeout"' in drip(client, b"a" * 500)
    with connected(hasty.port, post(WRITTEN_ELSEWHERE, b"", announced=40 * 500)) as client:
        assert b'"size":20000' in drip(client, b"a" * 500)


def test_the_rest_of_a_body_that_is_too_large_is_waited_for_only_so_long() -> None:
    app = small_app(Patience(head_s=0.5, look_s=0.05), limits=BodyLimits(drain_s=0.3))
    large = post("/size", b"a" * 16 * MB, announced=17 * MB)
    with served(app, keep_alive_s=1) as one, connected(one.port, large) as client:
        assert b'"payload_too_large"' in drip(client, b"a" * 500)


def test_bodies_that_have_come_for_long_give_way_to_others() -> None:
    with served(small_app(limits=LITTLE)) as one, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connected(one.port, HALF))
        whole = post("/size", bytes(MB))
        until(lambda: ask(one.port, whole)[0] == 429, "their arrival", LONG)
        until(lambda: ask(one.port, whole) == (200, {"size": MB}), "room", LONG)


def test_bodies_in_work_leave_no_room_for_large_ones_and_some_for_small_ones() -> None:
    app = small_app(limits=LITTLE)
    with served(app) as one, ExitStack() as stack:
        held = post("/wait", bytes(MB - 1))
        busy = [stack.enter_context(connected(one.port, held)) for _ in range(2)]
        until(lambda: app.state.waiting == 2, "they are being answered")
        with connected(one.port, post("/size", bytes(MB))) as client:
            answer = client.recv(1 << 16)
        assert b" 429 " in answer
        assert b"retry-after: " in answer
        assert ask(one.port, post("/size", b"abc")) == (200, {"size": 3})
        app.state.go_on.set()
        assert [answered(client)[0] for client in busy] == [200, 200]
        assert ask(one.port, post("/size", bytes(MB))) == (200, {"size": MB})


def test_unfinished_bodies_hold_no_more_than_is_allowed() -> None:
    with served(small_app(limits=LITTLE)) as one, ExitStack() as stack:
        begun = [stack.enter_context(connected(one.port, HALF)) for _ in range(8)]
        until(lambda: len(select.select(begun, [], [], 0)[0]) >= 6, "the refusals", LONG)
        ready, _, _ = select.select(begun, [], [], 0)
        assert {answered(client)[1]["code"] for client in ready} == {"overloaded"}
