"""The threads in which requests run: so many at once, and none for a client that has gone."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from fastapi import Request

from product_search.batching import Caller, caller_is_gone, calling
from product_search.errors import ClientGone, Overloaded
from product_search.images.budget import Allowance, allowing
from product_search.priority import give_way
from product_search.telemetry import QueueMetrics

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 40
MAX_WAITING = 200  # requests for a thread: some seconds of searches by text
# Requests with pictures have threads of their own: however long they wait for a decoder, no text
# waits behind them. So many keep the encoder's batches and those of searches full.
PICTURE_THREADS = 32
PICTURE_PATIENCE_S = 10.0  # for a thread, and again for a decoder
# Requests with many pictures take seconds: behind them no single one waits for a thread.
MANY_PICTURES_THREADS = 2
MANY_PICTURES_PATIENCE_S = 30.0
PICTURE_DECODING_S = 30.0  # for all costly pictures of a request: a phone's photo takes 0.5
# Most answers are there by then, and need nobody to watch for their client.
_WATCH_AFTER_S = 0.1


class RequestThreads:
    """Threads that other requests don't wait for when these take long; used in one event loop.

    What a function in them itself submits to a Batcher is dropped when the request's client has
    gone before its batch.
    """

    def __init__(
        self,
        threads: int = THREADS,
        max_waiting: int = MAX_WAITING,
        name: str = "search_threads",
        *,
        patience_s: float = math.inf,
        decoding_s: float = math.inf,
        gives_way: bool = False,
    ) -> None:
        """Start none yet.

        Args:
            threads: requests that run at once.
            max_waiting: requests that wait for a thread.
            name: of the threads, and of their queue in the metrics.
            patience_s: how long a request waits for a thread, and before each image it decodes.
            decoding_s: how long the costly images of a request may be decoded, in all.
            gives_way: whether they leave the processors to all other threads.
        """
        # anyio's threads, in which all else runs, cost a request three times as much.
        self._pool = ThreadPoolExecutor(threads, name, give_way if gives_way else None)
        self._threads, self._most = threads, threads + max_waiting
        self._patience_s, self._decoding_s = patience_s, decoding_s
        self._requests = 0
        self._metrics = QueueMetrics(name)

    @classmethod
    def for_pictures(cls) -> RequestThreads:
        """Return those of requests with a picture or a few."""
        return cls(
            PICTURE_THREADS,
            name="picture_threads",
            patience_s=PICTURE_PATIENCE_S,
            decoding_s=PICTURE_DECODING_S,
            gives_way=True,
        )

    @classmethod
    def for_many_pictures(cls, name: str) -> RequestThreads:
        """Return those of requests with up to 64 pictures."""
        return cls(
            MANY_PICTURES_THREADS,
            name=name,
            patience_s=MANY_PICTURES_PATIENCE_S,
            decoding_s=PICTURE_DECODING_S,
            gives_way=True,
        )

    async def run(
        self, request: Request, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `function(*args, **kwargs)`, once a thread is free for it.

        Raises:
            Overloaded: too many requests wait already, or this one has waited too long.
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
            with calling(caller), allowing(Allowance(self._patience_s, self._decoding_s)):
                work = partial(_while_wanted, function, *args, **kwargs)
                return await self._result(self._pool.submit(copy_context().run, work))
        finally:
            self._count(-1)
            timer.cancel()
            for watch in watches:
                watch.cancel()

    async def _result(self, future: Future[T]) -> T:
        """Return the future's result. Raises Overloaded where no thread takes it for too long."""
        if self._patience_s == math.inf:
            return await asyncio.wrap_future(future)
        # One that runs can't be cancelled.
        timer = asyncio.get_running_loop().call_later(self._patience_s, future.cancel)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():  # the request itself is cancelled
                raise
            self._metrics.dropped.inc()
            raise Overloaded(Overloaded.example) from None
        finally:
            timer.cancel()

    def _count(self, more: int) -> None:
        self._requests += more
        self._metrics.depth.set(max(0, self._requests - self._threads))


def _while_wanted(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    if caller_is_gone():  # while it waited for the thread
        raise ClientGone
    return function(*args, **kwargs)


async def _watch(request: Request, caller: Caller) -> None:
    await until_client_leaves(request)
    caller.is_gone = True


async def until_client_leaves(request: Request) -> None:
    """Return when the client leaves, whose request has been read whole."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
