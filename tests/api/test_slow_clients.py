"""Clients that send or take slowly, or too much: each is let go, and the others are answered."""

from __future__ import annotations

import json
import logging
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from product_search.api.connections import MAX_HEAD, Patience, Room
from product_search.settings import ROOT
from tests.api.serving import PATIENCE_S, Served, served
from tests.api.small_app import (
    LONG,
    MB,
    answered,
    ask,
    connected,
    drip,
    head,
    post,
    rest,
    small_app,
)
from tests.clock import until
from tests.servers import free_port, stop

HASTE = Patience(head_s=0.3, answer_s=0.5, leaving_s=0.3, look_s=0.05)
ROOM = Room(connections=4, unsent=200 * MB)


@pytest.fixture(scope="module")
def hasty() -> Iterator[Served]:
    """A server whose patience is short."""
    with served(small_app(HASTE, ROOM), keep_alive_s=1) as one:
        yield one


def code_in(answer: bytes) -> tuple[bytes, str]:
    """The status and the code of an error, whose connection the server closes."""
    headers, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in headers.lower()
    return headers.split()[1], json.loads(body)["code"]


def test_a_client_that_sends_nothing_is_let_go(hasty: Served) -> None:
    with connected(hasty.port) as client:
        assert rest(client) == b""


@pytest.mark.parametrize("begun", [b"G", head("GET", "/zeros/1")[:-2]])
def test_a_client_that_stops_in_its_headers_is_told_and_let_go(hasty: Served, begun: bytes) -> None:
    with connected(hasty.port, begun) as client:
        assert code_in(rest(client)) == (b"408", "request_timeout")


def test_a_client_that_sends_its_headers_byte_by_byte_is_let_go(hasty: Served) -> None:
    with connected(hasty.port, head("GET", "/zeros/1")[:-2] + b"X: ") as client:
        assert code_in(drip(client, b"a")) == (b"408", "request_timeout")


def test_a_client_that_sends_empty_lines_is_let_go(hasty: Served) -> None:
    with connected(hasty.port) as client:
        assert drip(client, b"\r\n") == b""


def test_a_client_that_goes_on_with_what_was_answered_is_let_go(hasty: Served) -> None:
    with connected(hasty.port, post("/nowhere", b"", announced=10**9)) as client:
        assert answered(client)[0] == 404
        assert drip(client, b"a") == b""


def test_a_client_that_is_idle_after_its_answer_is_let_go(hasty: Served) -> None:
    with connected(hasty.port, post("/size", b"abc")) as client:
        assert answered(client) == (200, {"size": 3})
        assert drip(client, b"\r\n") == b""


@pytest.mark.parametrize("before", [b"", post("/size", b"abc")], ids=["first", "second"])
@pytest.mark.parametrize("endless", [b"a" * 1000, b"b: c\r\n" * 200], ids=["one", "many"])
def test_headers_without_end_are_refused(hasty: Served, before: bytes, endless: bytes) -> None:
    with connected(hasty.port, before) as client:
        if before:
            answered(client)
        client.sendall(head("GET", "/zeros/1")[:-2] + b"X: ")
        client.sendall(endless * (MAX_HEAD // len(endless) + 2))
        assert code_in(rest(client)) == (b"413", "payload_too_large")


def test_trailers_without_end_are_refused(hasty: Served) -> None:
    request = head("POST", "/wait", "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n"
    with connected(hasty.port, request) as client:
        assert drip(client, b"b: c\r\n" * 2000) == b""


def test_a_body_of_very_many_chunks_is_read(hasty: Served) -> None:
    request = head("POST", "/size", "Transfer-Encoding: chunked") + b"1\r\na\r\n" * 50_000
    assert ask(hasty.port, request + b"0\r\n\r\n") == (200, {"size": 50_000})


def test_a_client_that_does_not_take_its_answer_is_let_go(hasty: Served) -> None:
    asked = hasty.server.server_state.total_requests + 1
    with connected(hasty.port, head("GET", f"/zeros/{50 * MB}")) as client:
        until(lambda: hasty.server.server_state.total_requests == asked, "the answer")
        until(lambda: not hasty.server.server_state.connections, "its end", LONG)
        assert len(rest(client)) < 50 * MB


def test_a_client_that_takes_its_answer_gets_it_whole() -> None:
    asked = head("GET", f"/zeros/{20 * MB}", "Connection: close")
    with served(small_app(Patience(look_s=0.05))) as one, connected(one.port, asked) as client:
        assert len(rest(client)) > 20 * MB


def test_answers_that_nobody_takes_are_bounded_together() -> None:
    with served(small_app(Patience(look_s=0.05), Room(10, unsent=MB))) as one, ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connected(one.port, head("GET", f"/zeros/{20 * MB}")))
        until(lambda: one.server.server_state.total_requests == 5, "the answers")
        until(lambda: not one.server.server_state.connections, "their end", LONG)
        assert ask(one.port, post("/size", b"abc")) == (200, {"size": 3})


def test_who_keeps_quiet_makes_room_for_others() -> None:
    with served(small_app(Patience(), ROOM)) as one, ExitStack() as stack:
        quiet = [stack.enter_context(connected(one.port)) for _ in range(ROOM.connections)]
        until(lambda: len(one.server.server_state.connections) == ROOM.connections, "the last")
        assert ask(one.port, post("/size", b"abc")) == (200, {"size": 3})
        closed, _, _ = select.select(quiet, [], [], LONG)
        assert [client.recv(1) for client in closed] == [b""]


def test_where_all_are_being_answered_another_one_is_refused() -> None:
    app = small_app(Patience(), ROOM)
    with served(app) as one, ExitStack() as stack:
        wait = head("GET", "/wait")
        busy = [stack.enter_context(connected(one.port, wait)) for _ in range(ROOM.connections)]
        until(lambda: app.state.waiting == ROOM.connections, "all are being answered")
        with connected(one.port) as client:
            assert code_in(rest(client)) == (b"429", "overloaded")
        app.state.go_on.set()
        assert [answered(client)[0] for client in busy] == [200] * ROOM.connections


def test_requests_in_one_packet_are_bounded(hasty: Served) -> None:
    few = head("GET", "/zeros/0")
    with connected(hasty.port, few * 20 + head("GET", "/zeros/0", "Connection: close")) as client:
        assert rest(client).count(b"200 OK") == 21
    with connected(hasty.port, few * 1000) as client:
        assert rest(client).count(b"200 OK") < 1000


def test_a_request_to_upgrade_is_answered_as_any_other(hasty: Served) -> None:
    upgrade = head("GET", "/nowhere", "Connection: Upgrade", "Upgrade: websocket")
    assert ask(hasty.port, upgrade)[0] == 404


def test_what_is_no_request_fills_no_log(hasty: Served, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(caplog.handler)
    try:
        for _ in range(20):
            with connected(hasty.port, b"no request\r\n\r\n") as client:
                assert rest(client).startswith(b"HTTP/1.1 400")
    finally:
        logger.removeHandler(caplog.handler)
    assert len([line for line in caplog.messages if "Invalid HTTP" in line]) <= 2


def test_the_service_ends_in_time_whatever_clients_do() -> None:
    app = small_app(Patience(leaving_s=0.3, look_s=0.05))
    with ExitStack() as stack:
        one = stack.enter_context(served(app))
        slow = [
            post("/size", b"half", announced=100),
            post("/upload", b"half", announced=100),
            head("GET", f"/zeros/{50 * MB}"),
            head("GET", "/zeros/1")[:-2],
        ]
        for request in slow:
            stack.enter_context(connected(one.port, request))
        asked = stack.enter_context(connected(one.port, head("GET", "/wait")))
        until(lambda: app.state.waiting == 1, "the request is being answered")
        one.stop()
        until(lambda: len(one.server.server_state.connections) == 1, "the others' end")
        app.state.go_on.set()
        assert answered(asked) == (200, {"size": 0})
        one.thread.join(PATIENCE_S)
        assert not one.thread.is_alive()


def test_each_of_several_processes_refuses_headers_without_end() -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.api.small_app:app", "--workers", "2"]
    process = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _answers(port), "the start")
        with connected(port, head("GET", "/")[:-2] + b"X: " + b"a" * 2 * MAX_HEAD) as client:
            assert code_in(rest(client)) == (b"413", "payload_too_large")
    finally:
        stop(process)


def _answers(port: int) -> bool:
    try:
        return ask(port, post("/size", b"abc")) == (200, {"size": 3})
    except OSError:
        return False
