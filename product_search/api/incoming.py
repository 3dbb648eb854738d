"""Request bodies while they come in: bounded in size, in time and, all together, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from product_search.errors import AppError, Overloaded, PayloadTooLarge, RequestTimeout

# An image at its limit as base64, and the other fields.
MAX_BODY = 15 * 1024 * 1024
_TAKE = "product_search.take"  # in the scope of a request
# After a refusal no more than this is read.
_MAX_DRAINED = 100 * 1024 * 1024


@dataclass(frozen=True)
class BodyLimits:
    """How long clients may take to send bodies, and how much memory all bodies may have.

    Times are in seconds, sizes in bytes.
    """

    pause_s: float = 30.0  # without a byte
    least_rate: float = 1024.0  # per second, over the pauses
    whole_s: float = 300.0  # of waiting for a body that is kept in memory
    drain_s: float = 30.0  # for the rest of a body that is refused
    held: int = 192 * 1024 * 1024  # in all; reading a body takes up to three times its size
    uncounted: int = 64 * 1024  # of each body: searches by text always have room
    room_s: float = 2.0  # longest wait for room
    settled_s: float = 5.0  # a body that has come for so long gives way to others


class IncomingBodies:
    """ASGI middleware: the bodies of all requests, of which each is received in time and bounds.

    Reading a body raises, where it is read:
        PayloadTooLarge: it has over MAX_BODY bytes.
        RequestTimeout: the client pauses too long, or sends too slowly.
        Overloaded: there is no room in memory.

    Routes at the paths in `own_limits` bound the size and the whole time of their bodies
    themselves, and keep at most so many bytes in memory.
    """

    def __init__(
        self,
        app: ASGIApp,
        own_limits: Mapping[str, int] | None = None,
        limits: BodyLimits | None = None,
    ) -> None:
        """Wrap the app."""
        self._app = app
        self._own_limits = own_limits or {}
        self._limits = limits or BodyLimits()
        self._memory = BodyMemory(self._limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give the app what it receives, counted; free the body's memory after the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kept = self._own_limits.get(scope["path"])
        body = _IncomingBody(receive, self._limits, self._memory, kept)
        scope[_TAKE] = partial(self._memory.take, body)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._memory.release(body)


def memory_of(request: Request) -> Callable[[int], Awaitable[None]]:
    """Return what takes so many bytes more for the request, beside its body.

    It raises Overloaded where there is no room in time.
    """
    take: Callable[[int], Awaitable[None]] = request.scope[_TAKE]
    return take


class BodyMemory:
    """Memory for bodies, from their first bytes until their requests are answered."""

    def __init__(self, limits: BodyLimits) -> None:
        """Hold nothing yet."""
        self._limits = limits
        self._held = 0
        self._bodies: dict[_IncomingBody, None] = {}  # those that hold some
        self._freed = asyncio.Event()

    async def take(self, body: _IncomingBody, size: int) -> None:
        """Take more for a body. Raises Overloaded where there is no room in time."""
        if not self._has_room(size):
            try:
                async with asyncio.timeout(self._limits.room_s):
                    await self._wait_for_room(body, size)
            except TimeoutError:
                raise _no_room() from None
        self._held += size
        body.held += size
        self._bodies[body] = None

    def release(self, body: _IncomingBody) -> None:
        """Free what the body holds."""
        self._bodies.pop(body, None)
        self._held -= body.held
        if body.held:
            body.held = 0
            self._freed.set()

    def _has_room(self, size: int) -> bool:
        return self._held + size <= self._limits.held

    async def _wait_for_room(self, asking: _IncomingBody, size: int) -> None:
        while not self._has_room(size):
            self._make_room(asking)
            self._freed.clear()
            await self._freed.wait()

    def _make_room(self, asking: _IncomingBody) -> None:
        """Give up the largest of the bodies that have been coming for long, if there is any."""
        settled = [one for one in self._bodies if one is not asking and one.is_settled]
        if settled:
            max(settled, key=lambda one: one.held).give_up()


class _IncomingBody:
    """The body of one request."""

    def __init__(
        self, receive: Receive, limits: BodyLimits, memory: BodyMemory, kept: int | None
    ) -> None:
        self.held = 0  # bytes of memory
        self._receive = receive
        self._limits = limits
        self._memory = memory
        self._kept = kept  # bytes at once, where the route writes them elsewhere
        self._received = 0
        self._is_whole = False
        self._is_given_up = False
        self._pause_s = limits.pause_s  # that the client has left
        self._waited_s = 0.0
        self._waits_since: float | None = None
        self._timeout: asyncio.Timeout | None = None  # while it waits for its client

    @property
    def is_settled(self) -> bool:
        """Whether it has been coming for so long that others go before."""
        is_coming = not self._is_whole and not self._is_given_up
        return is_coming and self._waited_s + self._waiting_s() >= self._limits.settled_s

    def give_up(self) -> None:
        """Have the request refused, now or when it is next read."""
        self._is_given_up = True
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def receive(self) -> Message:
        """Return what the server receives next; raise as IncomingBodies says."""
        if self._is_whole:  # only the client's leaving can follow
            return await self._receive()
        message = await self._receive_in_time()
        self._received += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._kept is None and self._received > MAX_BODY:
            if not self._is_whole:
                await drain(self._receive_in_time, self._limits.drain_s)
            raise PayloadTooLarge(f"请求体过大：最多 {MAX_BODY // 1024 // 1024} MB")
        at_once = self._received if self._kept is None else min(self._received, self._kept)
        if at_once > self._limits.uncounted + self.held:
            await self._memory.take(self, at_once - self._limits.uncounted - self.held)
        return message

    async def _receive_in_time(self) -> Message:
        """Return what comes. Raises RequestTimeout, and Overloaded once the body is given up."""
        if self._is_given_up:
            raise _no_room()
        self._waits_since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(self._waits_since + self._left_s()) as self._timeout:
                message = await self._receive()
        except TimeoutError:
            raise _no_room() if self._is_given_up else _too_slow() from None
        finally:
            self._timeout = None
            waited_s = self._waiting_s()
            self._waited_s += waited_s
            self._waits_since = None
        earned_s = len(message.get("body", b"")) / self._limits.least_rate
        self._pause_s = min(self._limits.pause_s, self._pause_s - waited_s + earned_s)
        return message

    def _left_s(self) -> float:
        if self._kept is not None:  # as long as its bytes flow
            return self._pause_s
        return min(self._pause_s, self._limits.whole_s - self._waited_s)

    def _waiting_s(self) -> float:
        """Return how long it has been waiting for its client now."""
        if self._waits_since is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._waits_since


async def drain(receive: Receive, drain_s: float = BodyLimits.drain_s) -> None:
    """Read the rest and drop it: a client hears the answer only when it has sent its body."""
    dropped = 0
    with suppress(TimeoutError, AppError):
        async with asyncio.timeout(drain_s):
            while dropped < _MAX_DRAINED:
                message = await receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body"):
                    return


def _no_room() -> Overloaded:
    return Overloaded("正在接收的请求体过多，请稍后重试")


def _too_slow() -> RequestTimeout:
    return RequestTimeout(RequestTimeout.example)
