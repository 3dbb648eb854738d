"""A picture server that answers as it is told: whole pictures, or what no server should send."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpcore

from product_search.errors import AppError
from product_search.fetching.addresses import Address, is_public
from product_search.fetching.fetcher import Fetcher, FetchLimits
from product_search.fetching.policy import Hosts, Policy
from tests.loops import run

# The one address of this machine that tests may hold for public; 127.0.0.1 is what it is.
HOST = "127.0.0.2"
NAME = "shop.test"
AUTHORITIES = httpcore.default_ssl_context()  # reading them takes a while
_PATIENCE_S = 30.0

Answer = bytes | Callable[[socket.socket], None]


def ok(content: bytes, *headers: str, length: int | str | None = None) -> bytes:
    """A whole answer; its Content-Length may be a lie."""
    announced = len(content) if length is None else length
    lines = ("HTTP/1.1 200 OK", f"Content-Length: {announced}", *headers, "", "")
    return "\r\n".join(lines).encode() + content


def redirect(location: str, *headers: str) -> bytes:
    """An answer that leads elsewhere."""
    lines = ("HTTP/1.1 302 Found", f"Location: {location}", "Content-Length: 0", *headers, "", "")
    return "\r\n".join(lines).encode()


def endless(head: bytes, piece: bytes, pause_s: float = 0.0) -> Callable[[socket.socket], None]:
    """An answer whose end never comes: the piece is sent until nobody takes it."""

    def send(client: socket.socket) -> None:
        client.sendall(head)
        pause = threading.Event()
        while True:
            client.sendall(piece)
            pause.wait(pause_s)

    return send


class HostileServer:
    """Answers each path as it is told; notes what was asked, and which clients have left."""

    def __init__(self, listener: socket.socket, certificate: ssl.SSLContext | None) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[bytes] = []
        self.closed = 0  # connections that their clients have closed before their answers' ends
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._certificate = certificate
        self._clients: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def url(self, path: str, scheme: str = "http", host: str = NAME) -> str:
        """The address of the path by a name."""
        return f"{scheme}://{host}:{self.port}{path}"

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [request.split(b" ", 2)[1].decode() for request in self.requests]

    def stop(self) -> None:
        """Close everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(_PATIENCE_S)
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_PATIENCE_S)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(_PATIENCE_S)
                self._clients.append(client)
                self._threads.append(threading.Thread(target=self._serve, args=[client]))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, self._secured(client) as stream:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                if not (received := stream.recv(4096)):
                    return
                request += received
            self.requests.append(request)
            answer = self.answers[self.paths[-1].partition("?")[0]]
            try:
                if isinstance(answer, bytes):
                    stream.sendall(answer)
                else:
                    answer(stream)
            except OSError:
                self.closed += 1

    def _secured(self, client: socket.socket) -> socket.socket:
        if self._certificate is None:
            return client
        return self._certificate.wrap_socket(client, server_side=True)


@contextmanager
def hostile_server(certificate: ssl.SSLContext | None = None) -> Iterator[HostileServer]:
    """A server at HOST, stopped at the end."""
    server = HostileServer(socket.create_server((HOST, 0)), certificate)
    try:
        yield server
    finally:
        server.stop()


def silence(client: socket.socket) -> None:
    """No answer at all, for as long as the client waits."""
    if client.recv(1) == b"":
        raise ConnectionResetError


class Names:
    """A resolver of names that the test decides on; what is not among them is not there."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        """The name's addresses; of several lists the next at each time."""
        self.asked.append(host)
        if host not in self._names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = self._names[host]
        return list(next(found) if isinstance(found, Iterator) else found)


class Network(httpcore.AnyIOBackend):
    """The real network, which notes where connections were made to."""

    def __init__(self) -> None:
        self.connected: list[str] = []

    async def connect_tcp(self, host: str, *args: Any, **options: Any) -> Any:
        """Note the address, then connect."""
        self.connected.append(host)
        return await super().connect_tcp(host, *args, **options)


def allows(address: Address) -> bool:
    """Public addresses, and the hostile server's."""
    return str(address) == HOST or is_public(address)


def fetcher_of(
    *servers: HostileServer,
    limits: FetchLimits | None = None,
    also: Sequence[str] = (),
    **options: Any,
) -> Fetcher:
    """A fetcher that may ask these servers, as shop.test and as what else they are called."""
    names = (NAME, f"*.{NAME}", HOST, *also)
    hosts = [Hosts.parse(f"{name}:{one.port}") for name in names for one in servers]
    chosen: dict[str, Any] = {"resolve": Names({NAME: [HOST]}), "certificates": AUTHORITIES}
    return Fetcher(Policy(tuple(hosts), allows), limits, **chosen | options)


@dataclass
class Fetched:
    """What came of a fetch."""

    content: bytes = b""
    error: AppError | None = None
    taken: int = 0  # bytes that were counted while they came

    @property
    def code(self) -> str | None:
        """The error's."""
        return None if self.error is None else self.error.code


def fetched(fetcher: Fetcher, url: str) -> Fetched:
    """What comes of fetching the URL."""
    outcome = Fetched()

    async def take(size: int) -> None:
        outcome.taken += size

    try:
        outcome.content = run(fetcher.fetch(url, take))
    except AppError as error:
        outcome.error = error
    return outcome
