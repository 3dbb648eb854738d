"""The application behind a real server in this process, and clients of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from tests.clock import until
from tests.servers import free_port

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Served:
    """A real server in a thread."""

    server: uvicorn.Server
    thread: threading.Thread

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.config.port

    def stop(self) -> None:
        """What SIGTERM does; it ends some time later."""
        self.server.should_exit = True


@contextmanager
def served(app: FastAPI, keep_alive_s: int = 5) -> Iterator[Served]:
    """The application behind a real server, stopped at the end."""
    port, log_level = free_port(), "warning"
    config = uvicorn.Config(app, port=port, log_level=log_level, timeout_keep_alive=keep_alive_s)
    server = uvicorn.Server(config)
    one = Served(server, threading.Thread(target=server.run))
    one.thread.start()
    try:
        until(lambda: server.started or not one.thread.is_alive(), "the server's start")
        yield one
    finally:
        one.stop()
        one.thread.join(PATIENCE_S)


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    """The application behind a real server in a thread; its port."""
    with served(app) as one:
        yield one.port


@contextmanager
def sent(port: int, body: str) -> Iterator[None]:
    """A search that is sent whole, and whose client leaves at the end of the block."""
    content = body.encode()
    head = (
        "POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(head.encode() + content)
        yield
