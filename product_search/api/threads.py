"""The threads in which searches run: so many at once, and none for a client that has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from fastapi import Request

from product_search.batching import Caller, caller_is_gone, calling
from product_search.errors import ClientGone, Overloaded
from product_search.telemetry import QueueMetrics

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 40
MAX_WAITING = 200  # requests for a thread: some seconds of searches by text
# Most answers are there by then, and need nobody to watch for their client.
_WATCH_AFTER_S = 0.1


class SearchThreads:
    """Threads that other requests don't wait for when searches take long; used in one event loop.

    What a function in them itself submits to a Batcher is dropped when the request's client has
    gone before its batch.
    """

    def __init__(
        self, threads: int = THREADS, max_waiting: int = MAX_WAITING, name: str = "search_threads"
    ) -> None:
        """Start none yet; `name` is their queue's in the metrics."""
        # anyio's threads, in which all else runs, cost a request three times as much.
        self._pool = ThreadPoolExecutor(threads, "search")
        self._threads, self._most = threads, threads + max_waiting
        self._requests = 0
        self._metrics = QueueMetrics(name)

    async def run(
        self, request: Request, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `function(*args, **kwargs)`, once a thread is free for it.

        Raises:
            Overloaded: too many requests wait already.
            ClientGone: the client has left, and what it asked for was not finished.
        """
        if self._requests >= self._most:
            self._metrics.refused.inc()
            raise Overloaded(Overloaded.example)
        self._count(1)
        caller, watches = Caller(), list[asyncio.Task[None]]()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(
            _WATCH_AFTER_S, lambda: watches.append(loop.create_task(_watch(request, caller)))
        )
        try:
            with calling(caller):
                work = partial(_while_wanted, function, *args, **kwargs)
                return await loop.run_in_executor(self._pool, copy_context().run, work)
        finally:
            self._count(-1)
            timer.cancel()
            for watch in watches:
                watch.cancel()

    def _count(self, more: int) -> None:
        self._requests += more
        self._metrics.depth.set(max(0, self._requests - self._threads))


def _while_wanted(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    if caller_is_gone():  # while it waited for the thread
        raise ClientGone
    return function(*args, **kwargs)


async def _watch(request: Request, caller: Caller) -> None:
    """Note it when the client leaves; its request has been read whole."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    caller.is_gone = True
