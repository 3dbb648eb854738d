"""The application behind a real server in this process, and clients of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from tests.clock import until
from tests.servers import free_port

PATIENCE_S = 60.0


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    """The application behind a real server in a thread; its port."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), "the server's start")
        yield port
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


@contextmanager
def sent(port: int, body: str) -> Iterator[None]:
    """A search that is sent whole, and whose client leaves at the end of the block."""
    content = body.encode()
    head = (
        "POST /search HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(head.encode() + content)
        yield
