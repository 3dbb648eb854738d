"""A TCP proxy before a MySQL server that cuts the connection at a chosen statement."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_QUERY = 3  # the command byte of a statement; others are pings and the login


@dataclass
class _Cut:
    """Where to cut: at a statement that begins so, in a transaction that has sent `within`."""

    statement: str
    within: str
    is_forwarded: bool
    times: int
    hangs: bool = False


@dataclass
class _Pair:
    """A client's connection and its continuation to the server."""

    client: socket.socket
    server: socket.socket
    transaction: list[str] = field(default_factory=list)
    is_muted: bool = False

    def close(self) -> None:
        """End both; a thread that reads from one wakes up."""
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class CuttingProxy:
    """Forwards to a server on this machine; `statements` are all that clients sent."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.statements: list[str] = []
        self._cuts: list[_Cut] = []
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_before(self, statement: str, within: str = "", times: int = 1) -> None:
        """The server never sees the statement."""
        self._cuts.append(_Cut(statement, within, False, times))

    def cut_after(self, statement: str, within: str = "", times: int = 1) -> None:
        """The server has run the statement; its answer never comes."""
        self._cuts.append(_Cut(statement, within, True, times))

    def hang_at(self, statement: str, times: int = 1) -> None:
        """The server never sees the statement, and the connection stays."""
        self._cuts.append(_Cut(statement, "", False, times, hangs=True))

    def sent(self, statement: str) -> int:
        """How many statements began so."""
        return sum(1 for sent in self.statements if sent.startswith(statement))

    def cut_all(self) -> None:
        """End every connection, as a restart of the server does."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.close()

    def close(self) -> None:
        """End every connection and take no more, as a server that is gone."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            pair = _Pair(client, socket.create_connection(self._target))
            with self._lock:
                self._pairs.append(pair)
            for copy in (self._to_server, self._to_client):
                threading.Thread(target=copy, args=(pair,), daemon=True).start()

    def _to_server(self, pair: _Pair) -> None:
        with suppress(OSError):
            while packet := _packet(pair.client):
                cut = self._cut_at(pair, packet)
                if cut and cut.hangs:
                    continue
                if cut and not cut.is_forwarded:
                    break
                pair.is_muted = cut is not None
                pair.server.sendall(packet)
        if not pair.is_muted:  # else the server's answer is waited for
            pair.close()

    def _to_client(self, pair: _Pair) -> None:
        with suppress(OSError):
            while (answer := pair.server.recv(1 << 16)) and not pair.is_muted:
                pair.client.sendall(answer)
        pair.close()

    def _cut_at(self, pair: _Pair, packet: bytes) -> _Cut | None:
        if packet[4] != _QUERY or packet[3] != 0:
            return None
        statement = packet[5:].decode("utf-8", "replace")
        with self._lock:
            self.statements.append(statement)
            found = [
                cut
                for cut in self._cuts
                if cut.times
                and statement.startswith(cut.statement)
                and (not cut.within or any(cut.within in sent for sent in pair.transaction))
            ]
            for cut in found[:1]:
                cut.times -= 1
        pair.transaction.append(statement)
        if statement in ("COMMIT", "ROLLBACK"):
            pair.transaction.clear()
        return found[0] if found else None


def _packet(stream: socket.socket) -> bytes:
    """The next packet whole, its header included; nothing at the end of the stream."""
    header = _exactly(stream, 4)
    return header and header + _exactly(stream, int.from_bytes(header[:3], "little"))


def _exactly(stream: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = stream.recv(size - len(content))
        if not part:
            return b""
        content += part
    return content


@contextmanager
def cutting_proxy(host: str, port: int) -> Iterator[CuttingProxy]:
    """A proxy that is closed at the end."""
    proxy = CuttingProxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
