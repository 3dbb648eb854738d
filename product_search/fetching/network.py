"""Connections to addresses that were checked, on which no more is read than a picture needs."""

from __future__ import annotations

# ruff: noqa: ASYNC109 - the timeouts are those of httpcore's interface
import ssl
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore
from httpcore import SOCKET_OPTION

from product_search.fetching.addresses import Address

# Bytes beside the content: the head of an answer, and frames of its pieces. What only costs time to
# read, a flood of headers, of interim answers or of pieces of one byte, has no more.
_OVERHEAD = 64 * 1024
_READ_AT_ONCE = 16 * 1024  # parsed before anybody else has a turn
_MAX_ADDRESSES = 4  # tried one after the other


class PinnedNetwork(httpcore.AsyncNetworkBackend):
    """A network in which every name is at these addresses: nobody resolves it again.

    It makes one connection. TLS still asks for the name, and has its certificate checked.
    """

    def __init__(self, addresses: Sequence[Address], network: httpcore.AsyncNetworkBackend) -> None:
        """Connect to the first of the addresses that answers, by the network."""
        self._addresses = addresses[:_MAX_ADDRESSES]
        self._network = network
        self._stream: httpcore.AsyncNetworkStream | None = None
        self.meter = Meter()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a connection, whatever the host is called. Raises as httpcore's networks do."""
        for address in self._addresses[:-1]:
            try:
                return await self._connect(address, port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._connect(self._addresses[-1], port, timeout)

    async def close(self) -> None:
        """Close the connection, also one whose handshake was left in the middle."""
        if self._stream is not None:
            await self._stream.aclose()

    async def _connect(
        self, address: Address, port: int, timeout: float | None
    ) -> httpcore.AsyncNetworkStream:
        self._stream = await self._network.connect_tcp(str(address), port, timeout)
        return _MeteredStream(self._stream, self.meter)


class Meter:
    """How much was read of a connection, and how much may be."""

    def __init__(self) -> None:
        """Allow a head, and some more."""
        self._left = _OVERHEAD

    def read(self, size: int) -> None:
        """Count what was read. Raises httpcore.RemoteProtocolError where it is too much."""
        self._left -= size
        if self._left < 0:
            raise httpcore.RemoteProtocolError("far more is sent than the content")

    def grant(self, size: int) -> None:
        """Allow more, for content of this size that was among what was read."""
        self._left += size + size // 8


class _MeteredStream(httpcore.AsyncNetworkStream):
    """A connection whose bytes are counted as they are read."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what comes, a little at a time."""
        read = await self._stream.read(min(max_bytes, _READ_AT_ONCE), timeout)
        self._meter.read(len(read))
        return read

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return the connection encrypted, its certificate that of the name."""
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _MeteredStream(stream, self._meter)

    def get_extra_info(self, info: str) -> Any:
        """Return what the connection knows of itself."""
        return self._stream.get_extra_info(info)
