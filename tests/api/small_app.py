"""A small application behind the doors of the real one, and clients that write by hand."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from product_search.api import errors
from product_search.api.connections import Patience, Room, WatchedApp
from product_search.api.incoming import BodyLimits, IncomingBodies
from tests.api.serving import PATIENCE_S

WRITTEN_ELSEWHERE = "/upload"
LONG = 10.0  # seconds; a client waits no longer
MB = 1024 * 1024


def small_app(
    patience: Patience | None = None,
    room: Room | None = None,
    limits: BodyLimits | None = None,
) -> FastAPI:
    """An application whose `/wait` answers once `app.state.go_on` is set."""
    app = WatchedApp(patience=patience, room=room)
    own = {WRITTEN_ELSEWHERE: MB}
    app.add_middleware(IncomingBodies, own_limits=own, limits=limits)
    errors.install(app)
    app.state.go_on, app.state.waiting = threading.Event(), 0

    @app.post("/size")
    @app.post(WRITTEN_ELSEWHERE)
    async def size(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    @app.get("/zeros/{count}")
    async def zeros(count: int) -> Response:
        return Response(bytes(count))

    @app.get("/wait")
    @app.post("/wait")
    async def wait(request: Request) -> dict[str, int]:
        size = len(await request.body())
        app.state.waiting += 1
        await run_in_threadpool(app.state.go_on.wait, PATIENCE_S)
        return {"size": size}

    return app


app = small_app()


@contextmanager
def connected(port: int, sent: bytes = b"") -> Iterator[socket.socket]:
    """A connection on which these bytes have been sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=LONG) as client:
        client.sendall(sent)
        yield client


def head(method: str, path: str, *headers: str) -> bytes:
    """A request's line and headers, whole."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", "")).encode()


def post(path: str, content: bytes, announced: int | None = None) -> bytes:
    """A POST of the content, which may be less than what is announced."""
    length = len(content) if announced is None else announced
    return head("POST", path, f"Content-Length: {length}") + content


def drip(client: socket.socket, piece: bytes, pause_s: float = 0.05) -> bytes:
    """Send the piece again and again until the server closes; what it has answered."""
    answer = b""
    for _ in range(round(LONG / pause_s)):
        client.settimeout(pause_s)
        try:
            if not (received := client.recv(1 << 16)):
                return answer
            answer += received
        except TimeoutError:
            client.settimeout(LONG)
            with suppress(ConnectionError):
                client.sendall(piece)
        except ConnectionError:
            return answer
    raise AssertionError("the server does not close the connection")


def rest(client: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    answer = bytearray()
    with suppress(ConnectionResetError):
        while received := client.recv(1 << 16):
            answer += received
    return bytes(answer)


def answered(client: socket.socket) -> tuple[int, Any]:
    """The status of the next answer, and its body."""
    with client.makefile("rb") as stream:
        status, length = int(stream.readline().split()[1]), 0
        while (line := stream.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return status, json.loads(stream.read(length))


def ask(port: int, request: bytes) -> tuple[int, Any]:
    """The status and body of the answer to a request on a connection of its own."""
    with connected(port, request) as client:
        return answered(client)
