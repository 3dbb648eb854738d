"""Connections of clients: how long each may take, how many there may be, how they end at SIGTERM.

Uvicorn has a limit for idle connections alone. Here a subclass of its protocol is put into the
server whose lifespan begins: docs/decisions/0032-slow-clients.md.
"""

from __future__ import annotations

import asyncio
import logging
import re
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from product_search.api.doors.refusals import UnreadableLog
from product_search.errors import AppError, Overloaded, PayloadTooLarge, RequestTimeout

log = logging.getLogger(__name__)
_UNREADABLE = UnreadableLog()

MAX_HEAD = 64 * 1024  # bytes of a request line with its headers, or of trailers
_MAX_PIPELINED = 64  # requests that wait on a connection: many fit into one packet
_MAX_CONNECTIONS = 2_000
# Of what is not taken the system keeps this much of a connection, by itself up to some megabytes:
# until so much was taken nothing would be seen of it.
_SYSTEM_KEEPS = 256 * 1024
_UNLIMITED = 1 << 20  # descriptors: more are as good as without a limit


@dataclass(frozen=True)
class Patience:
    """How long clients may take, in seconds; how fast they are at least, in bytes per second."""

    head_s: float = 20.0  # to the end of the headers, and with the rest of what was answered
    answer_s: float = 60.0  # without taking any of an answer
    least_rate: float = 1024.0
    leaving_s: float = 10.0  # once the service stops: to send or to take what was begun
    grace_s: int = 30  # once the service stops: to be answered; docs/deployment.md
    look_s: float = 1.0  # between two looks at all connections


@dataclass(frozen=True)
class Room:
    """What all connections together may hold."""

    connections: int = field(default_factory=lambda: _connections_for(_descriptors()))
    unsent: int = 256 * 1024 * 1024  # bytes of answers that clients have not taken


class WatchedApp(FastAPI):
    """An application that watches the connections of the Uvicorn server which runs it."""

    def __init__(
        self, *, patience: Patience | None = None, room: Room | None = None, **of_app: Any
    ) -> None:
        """Take what FastAPI takes; the watch begins with the lifespan."""
        super().__init__(**of_app)
        self._watch = Watch(patience or Patience(), room or Room())

    @property
    def bound_host(self) -> str | None:
        """The address that Uvicorn was told to listen at; None where that is not known."""
        return self._watch.bound_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take requests; keep the watch while the lifespan lasts."""
        if scope["type"] != "lifespan":
            await super().__call__(scope, receive, send)
            return
        # Not in a middleware: FastAPI gives those another `receive` than the server's.
        async with self._watch.kept_over(receive):
            await super().__call__(scope, receive, send)


class Watch:
    """Looks at all connections of one server, again and again."""

    def __init__(self, patience: Patience, room: Room) -> None:
        """Watch nothing yet."""
        self.patience = patience
        self.bound_host: str | None = None
        self._room = room
        self._connections: set[WatchedConnection] = set()
        self._leaves_at: float | None = None  # once the service stops

    @asynccontextmanager
    async def kept_over(self, receive: Receive) -> AsyncIterator[None]:
        """Watch the server whose lifespan receives by this; none where that is not Uvicorn's."""
        server = getattr(receive, "__self__", None)
        if not isinstance(server, LifespanOn):
            yield
            return
        self._install(server.config)
        looking = asyncio.create_task(self._look_again_and_again())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    def _install(self, config: Config) -> None:
        if config.fd is None and config.uds is None:  # else somebody else has bound the socket
            self.bound_host = config.host
        if config.timeout_graceful_shutdown is None:
            config.timeout_graceful_shutdown = self.patience.grace_s
        if config.http_protocol_class is HttpToolsProtocol:
            # Uvicorn asks for it at each connection, and there is none yet.
            config.http_protocol_class = partial(WatchedConnection, self)  # type: ignore[assignment]
        else:
            log.warning("slow clients are waited for without end: Uvicorn runs without httptools")

    def admit(self, connection: WatchedConnection) -> None:
        """Take a new connection in; where there is no room, whoever has kept quiet longest goes."""
        self._connections.add(connection)
        if len(self._connections) <= self._room.connections:
            return
        quiet = [one for one in self._connections if one.is_quiet and one is not connection]
        if quiet:
            min(quiet, key=lambda one: one.since).transport.abort()
        else:
            connection.refuse(Overloaded("连接过多，请稍后重试"))

    def forget(self, connection: WatchedConnection) -> None:
        """Drop a connection that is closed."""
        self._connections.discard(connection)

    def begin_to_leave(self, now: float) -> None:
        """Note that the service stops; only the first time counts."""
        if self._leaves_at is None:
            self._leaves_at = now + self.patience.leaving_s

    async def _look_again_and_again(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.patience.look_s)
            try:
                self._look(loop.time())
            except Exception:  # connections that are watched no more would stay for good
                log.exception("connections could not be looked at")

    def _look(self, now: float) -> None:
        is_leaving = self._leaves_at is not None and now >= self._leaves_at
        for connection in list(self._connections):
            connection.look(now)
            if is_leaving and connection.waits_for_client:
                connection.transport.abort()
        self._make_room_for_answers()

    def _make_room_for_answers(self) -> None:
        """Close connections that have kept answers longest, where all of them keep too much."""
        keeping = [connection for connection in self._connections if connection.unsent]
        unsent = sum(connection.unsent for connection in keeping)
        if unsent <= self._room.unsent:
            return
        for connection in sorted(keeping, key=lambda one: one.unsent_since):
            connection.transport.abort()
            unsent -= connection.unsent
            if unsent <= self._room.unsent:
                return


class WatchedConnection(HttpToolsProtocol):
    """Uvicorn's protocol of one connection, which knows since when it waits for its client."""

    def __init__(self, watch: Watch, **of_server: Any) -> None:
        """Take the watch, and what Uvicorn gives to a protocol."""
        super().__init__(**of_server)
        self.logger.addFilter(_UNREADABLE)  # once, however often
        # No route speaks WebSocket: a request to upgrade is answered as if it had not asked.
        self.ws_protocol_class = None
        self.since = self.loop.time()  # connected, answered, or begun to send a request
        self.unsent = 0  # bytes, at the last look
        self.unsent_since = self.since
        self._watch = watch
        self._credit_s = watch.patience.answer_s  # time left to take some of the answer
        self._has_begun = False  # to send headers
        self._unused = 0  # bytes received since there was anything of use

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is being answered: the client's turn to send a request."""
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete)

    @property
    def waits_for_client(self) -> bool:
        """Whether only the client keeps the connection: to send the rest, or to take an answer."""
        return bool(self.unsent) or self.is_quiet or (self.cycle.more_body)

    def look(self, now: float) -> None:
        """Close the connection where its client is overdue."""
        self._count_unsent(now)
        allowed_s = self._watch.patience.head_s
        if not self._has_begun and self.cycle is not None:
            allowed_s = max(allowed_s, self.timeout_keep_alive)
        if self._credit_s <= 0:
            self.transport.abort()
        elif self.is_quiet and not self.transport.is_closing() and now > self.since + allowed_s:
            if self._has_begun:
                self.refuse(RequestTimeout("请求头接收超时"))
            else:
                self.transport.close()

    def refuse(self, error: AppError) -> None:
        """Answer what is no request yet, and close the connection."""
        if self.transport.is_closing():
            return
        if not self.is_quiet:  # in the middle of another answer
            self.transport.abort()
            return
        body = error.body().model_dump_json().encode()
        retry = b"" if error.retry_after_s is None else b"retry-after: %d\r\n" % error.retry_after_s
        head = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        close = b"connection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[error.status] + head + retry + close + body)
        self.transport.close()

    def _count_unsent(self, now: float) -> None:
        """Note how much of answers is not taken, and how long the client may still take none."""
        before, self.unsent = self.unsent, self.transport.get_write_buffer_size()
        patience = self._watch.patience
        if not self.unsent or self.unsent > before:  # all taken; or enough that more was sent
            self._credit_s = patience.answer_s
        else:
            earned_s = (before - self.unsent) / patience.least_rate
            self._credit_s = min(patience.answer_s, self._credit_s + earned_s - patience.look_s)
        if not (before and self.unsent):
            self.unsent_since = now

    # What Uvicorn, its transport and its parser call.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        taken_from = transport.get_extra_info("socket")
        taken_from.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SYSTEM_KEEPS)
        self._watch.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._watch.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and refuse headers without end."""
        if self.transport.is_closing():
            return
        self._unused += len(data)
        super().data_received(data)
        if self._unused > MAX_HEAD:
            self.refuse(PayloadTooLarge(f"请求头过大：最多 {MAX_HEAD // 1024} KB"))

    def on_message_begin(self) -> None:
        """Note the first byte of a request."""
        super().on_message_begin()
        self.since, self._has_begun = self.loop.time(), True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; not a trailer, which the parser gives too: the doors have looked by then.

        A proxy in front, too, has set or dropped only headers.
        """
        if self._has_begun:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note the end of headers."""
        self._unused, self._has_begun = 0, False
        if len(self.pipeline) >= _MAX_PIPELINED:
            self.transport.abort()
        elif not self.transport.is_closing():
            self._take_host_of_target()
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that some of a body came."""
        self._unused = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of a request."""
        self._unused = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note that the client has its answer."""
        self.since = self.loop.time()
        super().on_response_complete()

    def shutdown(self) -> None:
        """Stop with the server; from now on the client has little time."""
        self._watch.begin_to_leave(self.loop.time())
        super().shutdown()

    def _take_host_of_target(self) -> None:
        """Put the host of `GET http://host/path` in place of the header's, as RFC 9112 says."""
        if not self.url.startswith((b"/", b"*")):
            host = re.split(rb"[/?#]", self.url.partition(b"//")[2], maxsplit=1)[0]
            self.headers[:] = [one for one in self.headers if one[0] != b"host"]
            self.headers.append((b"host", host))

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: clients ask for upgrades as they like."""


def _descriptors() -> int:
    """Return how many files and connections this process may have open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if limit == resource.RLIM_INFINITY else min(limit, _UNLIMITED)


def _connections_for(descriptors: int) -> int:
    """Return how many clients leave enough descriptors for the stores and for images."""
    return min(_MAX_CONNECTIONS, descriptors // 2)
