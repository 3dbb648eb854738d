"""Work of many requests done together: a bounded queue, batches of it, and futures of the results.

A thread waits for its results in `gather`; what it submits within `background` gives way to all
else, and what it submits within `calling` is dropped once the caller has gone.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from product_search.context import current_request_id, join_request_ids, within_request
from product_search.errors import ClientGone, Overloaded
from product_search.priority import give_way
from product_search.telemetry import QueueMetrics

Item = TypeVar("Item")
Result = TypeVar("Result")

# A thread without work ends: nobody has to close a queue that is no longer used.
IDLE_S = 10.0
# While searches wait all the time, the background still gets one batch in so many.
BACKGROUND_TURN = 8
# For so long after a search the background's batches have a part of their room: the next search
# may have to wait for one.
BUSY_S = 1.0
BUSY_PART = 4
# What took longer to fail waited for something that is down, which is no single item's fault.
RETRY_WITHIN_S = 5.0


@dataclass(eq=False)
class Caller:
    """Whoever waits for an answer."""

    is_gone: bool = False


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)
_in_background: ContextVar[bool] = ContextVar("in_background", default=False)
_thread = threading.local()


@contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """Submit for the caller inside the block, also from threads that are started with it."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)


@contextmanager
def background() -> Iterator[None]:
    """Submit inside the block what gives way to searches."""
    token = _in_background.set(True)
    try:
        yield
    finally:
        _in_background.reset(token)


def is_in_background() -> bool:
    """Return whether what is submitted here gives way to searches."""
    return _in_background.get()


def caller_is_gone() -> bool:
    """Return whether nobody waits any more for what is submitted here."""
    caller = _caller.get()
    return caller is not None and caller.is_gone


def waited_s() -> float:
    """Return how many seconds of `gather` in this thread, so far, were spent before any work."""
    return getattr(_thread, "waited_s", 0.0)


class Ticket(Future[Result]):
    """The result to come of one submitted item, and when its batch began to run."""

    def __init__(self) -> None:
        """Note the time."""
        super().__init__()
        self.submitted = self.started = time.perf_counter()


def gather(tickets: Sequence[Ticket[Result]]) -> list[Result]:
    """Return the results, once all are there.

    Raises:
        ClientGone: the caller has gone, and an item was dropped.
        TimeoutError: an item has waited for longer than it may.
        Exception: what an item's batch, and then the item alone, has raised.
    """
    begun = time.perf_counter()
    results = [ticket.result() for ticket in tickets]
    started = max((ticket.started for ticket in tickets), default=begun)
    _thread.waited_s = waited_s() + max(0.0, started - begun)
    return results


@dataclass(slots=True)
class _Entry(Generic[Item, Result]):
    """A submitted item that waits."""

    item: Item
    cost: int
    key: Hashable
    caller: Caller | None
    patience_s: float
    in_background: bool
    error: Exception | None = None  # of the batch that it was in: it waits to be run alone
    retried_until: float = math.inf
    request_id: str | None = field(default_factory=current_request_id.get)
    ticket: Ticket[Result] = field(default_factory=Ticket)

    def refusal(self) -> Exception | None:
        """Return why the item is not run any more; None where it is."""
        if self.caller is not None and self.caller.is_gone:
            return ClientGone()
        if self.error is not None:
            return self.error if time.perf_counter() > self.retried_until else None
        if time.perf_counter() - self.ticket.submitted > self.patience_s:
            return TimeoutError()
        return None


class Batcher(Generic[Item, Result]):
    """Runs submitted items in batches, in threads of its own.

    Nothing waits for a batch to fill: a free thread takes what is there, and what comes while all
    are busy is the next batch. A batch holds items of one key; its cost is that of its dearest item
    times their number, as with texts that are padded to the longest.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        max_cost: int,
        max_waiting: int,
        patience_s: float = math.inf,
        threads: int = 1,
        gives_way: bool = False,
        cost: Callable[[Item], int] = lambda _: 1,
        key: Callable[[Item], Hashable] = lambda _: None,
    ) -> None:
        """Start nothing yet.

        Args:
            name: of the threads and in the metrics.
            run: returns a result for each item of a batch, in their order.
            max_cost: of a batch, unless a single item costs more.
            max_waiting: items, besides those of the background, whose submitters bound them.
            patience_s: how long they may wait before their batch, again but for the background.
            threads: batches that run at the same time.
            gives_way: whether these leave the processors to all other threads.
            cost: of an item.
            key: which items may share a batch.
        """
        self.name, self._run = name, run
        self._metrics = QueueMetrics(name)
        self._max_cost = max_cost
        self._max_waiting = max_waiting
        self._patience_s = patience_s
        self._max_threads, self._gives_way = threads, gives_way
        self._cost, self._key = cost, key
        self._changed = threading.Condition(threading.Lock())
        self._foreground: deque[_Entry[Item, Result]] = deque()
        self._background: deque[_Entry[Item, Result]] = deque()
        self._threads = self._idle = 0
        self._in_background = 0  # batches of the background that run
        self._turn = 0  # batches since the last of the background
        self._busy_until = -math.inf  # searches came a moment ago

    def submit(self, items: Iterable[Item]) -> list[Ticket[Result]]:
        """Put the items into the queue, all or none; return a ticket for each, for `gather`.

        Raises:
            Overloaded: too many wait.
            ClientGone: nobody waits for the results.
        """
        if caller_is_gone():
            raise ClientGone
        caller, in_background = _caller.get(), _in_background.get()
        patience_s = math.inf if in_background else self._patience_s
        entries: list[_Entry[Item, Result]] = [
            _Entry(item, self._cost(item), self._key(item), caller, patience_s, in_background)
            for item in items
        ]
        if not entries:
            return []
        with self._changed:
            queue = self._background if in_background else self._foreground
            if not in_background and len(queue) + len(entries) > self._max_waiting:
                self._metrics.refused.inc(len(entries))
                raise Overloaded(Overloaded.example)
            queue.extend(entries)
            if not in_background:
                self._busy_until = time.perf_counter() + BUSY_S
            self._metrics.depth.inc(len(entries))
            self._wake()
        return [entry.ticket for entry in entries]

    def _wake(self) -> None:
        if self._idle:
            self._changed.notify()
        elif self._threads < self._max_threads:
            threading.Thread(target=self._work, name=self.name, daemon=True).start()
            self._threads += 1  # where none could be started, the next item tries again

    def _work(self) -> None:
        if self._gives_way:
            give_way()
        while (taken := self._next()) is not None:
            wanted = self._without_refused(taken)
            if wanted:
                self._metrics.batch_size.observe(len(wanted))
                with within_request(join_request_ids(one.request_id for one in wanted)):
                    self._run_batch(wanted)
            if taken[0].in_background:
                with self._changed:
                    self._in_background -= 1
            del taken, wanted  # not kept while there is nothing to do

    def _without_refused(self, taken: Sequence[_Entry[Item, Result]]) -> list[_Entry[Item, Result]]:
        """Return those that are to be run, and tell the others why they are not."""
        wanted = []
        for entry in taken:
            refusal = entry.refusal()
            if refusal is None:
                wanted.append(entry)
            else:
                self._metrics.dropped.inc()
                entry.ticket.set_exception(refusal)
        return wanted

    def _next(self) -> list[_Entry[Item, Result]] | None:
        """Return the next batch; None where there was nothing to do for long: the thread ends."""
        with self._changed:
            while not (self._foreground or self._may_take_background()):
                self._idle += 1
                is_woken = self._changed.wait(IDLE_S)
                self._idle -= 1
                if not is_woken and not (self._foreground or self._may_take_background()):
                    self._threads -= 1
                    return None
            taken = self._take(self._queue())
            self._in_background += taken[0].in_background
            self._metrics.depth.dec(len(taken))
            if self._foreground or self._may_take_background():
                self._wake()
            return taken

    def _may_take_background(self) -> bool:
        """Return whether the background has work, and a thread: the last one is for searches."""
        return bool(self._background) and self._in_background < max(1, self._max_threads - 1)

    def _queue(self) -> deque[_Entry[Item, Result]]:
        """Return the queue whose turn it is."""
        self._turn += 1
        is_its_turn = not self._foreground or self._turn > BACKGROUND_TURN
        if self._may_take_background() and is_its_turn:
            self._turn = 0
            return self._background
        return self._foreground

    def _take(self, queue: deque[_Entry[Item, Result]]) -> list[_Entry[Item, Result]]:
        """Take the oldest entry from the queue, and those of its key that fit beside it.

        Entries that are not to be run any more come with them, and cost nothing.
        """
        taken: list[_Entry[Item, Result]] = []
        left: list[_Entry[Item, Result]] = []
        key: Hashable = None
        count = dearest = 0
        most = self._max_cost
        if queue is self._background and time.perf_counter() < self._busy_until:
            most //= BUSY_PART
        while queue and (not count or (count + 1) * dearest <= most):
            entry = queue.popleft()
            if entry.refusal() is not None:
                taken.append(entry)
            elif not count or (entry.key == key and (count + 1) * max(dearest, entry.cost) <= most):
                key = entry.key
                count, dearest = count + 1, max(dearest, entry.cost)
                taken.append(entry)
            else:
                left.append(entry)
        queue.extendleft(reversed(left))
        return taken

    def _run_batch(self, batch: Sequence[_Entry[Item, Result]]) -> None:
        """Run the batch; where it fails, each of its items waits for a turn alone."""
        begun = time.perf_counter()
        for entry in batch:
            entry.ticket.started = begun
        try:
            pairs = list(zip(batch, self._run([one.item for one in batch]), strict=True))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait for it get it
            until = begun + RETRY_WITHIN_S
            if len(batch) > 1 and time.perf_counter() <= until:
                self._put_back(batch, error, until)
            else:
                for entry in batch:
                    entry.ticket.set_exception(error)
            return
        for entry, result in pairs:
            entry.ticket.set_result(result)

    def _put_back(
        self, batch: Sequence[_Entry[Item, Result]], error: Exception, until: float
    ) -> None:
        """Let each item be run alone and next, but no search wait for all of the background's."""
        for entry in batch:
            entry.error, entry.retried_until = error, until
            entry.key = object()  # that of no other
        with self._changed:
            queue = self._background if batch[0].in_background else self._foreground
            queue.extendleft(reversed(batch))
            self._metrics.depth.inc(len(batch))
            self._wake()
