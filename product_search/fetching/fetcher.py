"""Fetching of pictures: a few at a time, each within bounds of size and time."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import cast

import httpcore

from product_search.errors import AppError, ImageTooLarge, InvalidImage, Overloaded
from product_search.fetching.addresses import Address
from product_search.fetching.errors import (
    ImageFetchFailed,
    ImageFetchTimeout,
    ImageUrlDisabled,
)
from product_search.fetching.network import PinnedNetwork
from product_search.fetching.policy import Policy, no_address
from product_search.fetching.urls import Url, join, parse, refused
from product_search.images.formats import MAX_BYTES
from product_search.telemetry import QueueMetrics

log = logging.getLogger(__name__)

Take = Callable[[int], Awaitable[None]]
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Whoever answers in more pieces than these keeps the event loop busy, and has a reason to.
_MAX_PIECES, _LEAST_PIECE = 1000, 1024
_HEADERS = [
    (b"User-Agent", b"product-search"),
    (b"Accept", b"image/*, */*;q=0.5"),
    (b"Accept-Encoding", b"identity"),
    (b"Connection", b"close"),
]


@dataclass(frozen=True)
class FetchLimits:
    """How long a picture's server may take, in seconds, and how many are asked at once."""

    connect_s: float = 5.0  # with the handshake of TLS
    pause_s: float = 5.0  # without a byte
    whole_s: float = 15.0  # redirects and the resolution of names included
    patience_s: float = 10.0  # longest wait for a turn
    at_once: int = 16


class Fetcher:
    """Fetches pictures by URL; used in one event loop.

    It asks as nobody: no cookies, no credentials, no referrer; and by itself: no proxy.
    """

    def __init__(
        self,
        policy: Policy | None,
        limits: FetchLimits | None = None,
        *,
        resolve: Resolve | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
        certificates: ssl.SSLContext | None = None,
    ) -> None:
        """Fetch what the policy lets pass; nothing without one.

        Args:
            policy: what may be asked.
            limits: of time and number.
            resolve: returns the addresses of a name; by default as the system has them.
            network: what connects to an address.
            certificates: who may vouch for servers; by default the authorities of certifi.
        """
        self._policy = policy
        self._limits = limits or FetchLimits()
        self._resolve = resolve or _SystemResolver(self._limits.at_once)
        self._network = network or httpcore.AnyIOBackend()
        # Reading the authorities takes some 20 ms.
        self._certificates = certificates or (httpcore.default_ssl_context() if policy else None)
        self._turns = asyncio.Semaphore(self._limits.at_once)
        self._metrics = QueueMetrics("picture_fetches")
        self._waiting = 0

    async def fetch(self, text: str, take: Take) -> bytes:
        """Return the file at a URL: whatever it is, but for a page.

        `take` is told how many bytes have come, before more are read; what it raises ends the
        fetch.

        Raises:
            ImageUrlDisabled: nothing is fetched here.
            ImageUrlRefused: the URL, or one that it redirects to, is not asked.
            ImageFetchFailed: there is no answer, no whole one, or no file in it.
            ImageFetchTimeout: it takes too long.
            ImageTooLarge: it is too large for a picture.
            InvalidImage: it is a page.
            Overloaded: too many are being fetched.
        """
        policy = self._policy
        if policy is None:
            raise ImageUrlDisabled(ImageUrlDisabled.example)
        url = parse(text)
        policy.check(url)
        async with self._turn():
            try:
                async with asyncio.timeout(self._limits.whole_s):
                    return await self._follow(url, policy, take)
            except (TimeoutError, httpcore.TimeoutException) as error:
                raise ImageFetchTimeout(ImageFetchTimeout.example) from error
            except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
                log.info("no picture from %s: %s", url.authority, error)
                raise _failed("连不上对方，或回答有误、中断") from error
            except AppError as error:
                log.info("no picture from %s: %s", url.authority, error.message)
                raise

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until fewer are fetched. Raises Overloaded where that takes too long."""
        self._count(1)
        try:
            async with asyncio.timeout(self._limits.patience_s):
                await self._turns.acquire()
        except TimeoutError:
            self._metrics.refused.inc()
            raise Overloaded(Overloaded.example) from None
        finally:
            self._count(-1)
        try:
            yield
        finally:
            self._turns.release()

    def _count(self, more: int) -> None:
        self._waiting += more
        self._metrics.depth.set(self._waiting)

    async def _follow(self, url: Url, policy: Policy, take: Take) -> bytes:
        """Return what is at the end of the redirects; each is checked as the first URL was."""
        for _ in range(MAX_REDIRECTS + 1):
            addresses = await self._addresses(url, policy)
            answer = await self._ask(url, addresses, take)
            if isinstance(answer, bytes):
                return answer
            if url.scheme == "https" and answer.scheme != "https":
                raise refused("从 https 重定向到了 http")
            policy.check(answer)
            url = answer
        raise _failed(f"重定向超过 {MAX_REDIRECTS} 次")

    async def _addresses(self, url: Url, policy: Policy) -> Sequence[Address]:
        """Return the checked addresses of the URL's host, of which it is asked at once."""
        if url.address is not None:
            return policy.checked([url.host])
        try:
            found = await self._resolve(url.host, url.port)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise _failed("暂时查不到主机的地址") from error
            raise no_address() from error
        return policy.checked(found)

    async def _ask(self, url: Url, addresses: Sequence[Address], take: Take) -> bytes | Url:
        """Return the file at the URL, or where it redirects to."""
        limits = self._limits
        pauses = dict.fromkeys(("read", "write"), limits.pause_s)
        host = url.host.encode()
        request = httpcore.Request(
            b"GET",
            httpcore.URL(
                scheme=url.scheme.encode(), host=host, port=url.port, target=url.target.encode()
            ),
            headers=[(b"Host", url.authority.encode()), *_HEADERS],
            extensions={"timeout": {"connect": limits.connect_s, **pauses}},
        )
        network = PinnedNetwork(addresses, self._network)
        connection = httpcore.AsyncHTTPConnection(
            httpcore.Origin(url.scheme.encode(), host, url.port),
            ssl_context=self._certificates,
            network_backend=network,
        )
        try:
            return await _answer(url, await connection.handle_async_request(request), network, take)
        finally:
            await network.close()


class _SystemResolver:
    """The system's resolver, in threads of its own: one that hangs holds up no other work."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "picture_names")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of the name. Raises socket.gaierror."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _look_up, host, port)


def _look_up(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def _answer(
    url: Url, response: httpcore.Response, network: PinnedNetwork, take: Take
) -> bytes | Url:
    """Return the content of an answer, or where it redirects to."""
    headers = {name.lower(): value for name, value in response.headers}
    if response.status in _REDIRECTS and b"location" in headers:
        return join(url, headers[b"location"].decode("utf-8", "replace"))
    if response.status != 200:
        raise _failed(f"对方的回答是 {response.status}")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _failed("对方压缩了回答，而没有请求压缩")
    if int(headers.get(b"content-length", b"0")) > MAX_BYTES:
        raise ImageTooLarge(ImageTooLarge.example)
    content = await _content(response, network, take)
    is_page = headers.get(b"content-type", b"").lower().startswith(b"text/html")
    if is_page and content.lstrip()[:1] == b"<":
        raise InvalidImage("图片地址给出的是网页（text/html），不是图片文件")
    return content


async def _content(response: httpcore.Response, network: PinnedNetwork, take: Take) -> bytes:
    """Return the whole content, which is bounded while it comes."""
    content, pieces = bytearray(), 0
    pieces_to_come = cast(AsyncGenerator[bytes, None], response.aiter_stream())
    async with aclosing(pieces_to_come) as stream:
        async for piece in stream:
            content += piece
            pieces += 1
            if len(content) > MAX_BYTES:
                raise ImageTooLarge(ImageTooLarge.example)
            if pieces > _MAX_PIECES + len(content) // _LEAST_PIECE:
                raise _failed("对方的回答过于零碎")
            network.meter.grant(len(piece))
            await take(len(piece))
    return bytes(content)


def _failed(reason: str) -> ImageFetchFailed:
    return ImageFetchFailed(f"没有取到图片：{reason}")
