"""Backpressure: writes are refused while too much index work waits, rather than pile up more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from orm_models import Database
from product_search.errors import OutboxFull
from product_search.outbox import counts
from product_search.outbox.events import Priority

_FRESH_S = 1.0
_PATIENCE_S = 5.0


class OpenGate:
    """Default gate: admit every write, wake nobody."""

    def admit(self, events: int, priority: Priority = Priority.person) -> None:
        """Admit a write that adds so many events. Overridden to refuse one by an exception."""

    def notify(self) -> None:
        """Tell whoever reads the outbox that events were committed. Overridden to wake a loop."""


class OutboxGate(OpenGate):
    """Admits a write while fewer events than `max_depth` wait, and wakes the outbox's reader.

    Before what people write comes only what people have written, so nothing else is counted: an
    import has no part in it, and waits itself once so many events of all kinds wait.
    """

    def __init__(
        self,
        database: Database,
        max_depth: int,
        wake: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind the gate to the outbox of `database`; `notify` calls `wake`."""
        self._depths = {
            priority: _Depth(database, max_depth, priority, clock) for priority in Priority
        }
        self._wake = wake

    def admit(self, events: int, priority: Priority = Priority.person) -> None:
        """Admit a write that adds so many events.

        Raises:
            OutboxFull: too many events wait.
            DatabaseUnavailable: the database does not answer.
        """
        self._depths[priority].admit(events)

    def notify(self) -> None:
        """Wake the loop that reads the outbox: events were committed."""
        if self._wake is not None:
            self._wake()


class _Depth:
    """How many events wait that are as urgent as a priority or more, up to `most`.

    They are counted at most once a second, and no further than `most`; what is admitted in
    between is added. Other processes' writes are therefore seen up to a second late.

    One write counts, and the others go by the last count meanwhile: a database that does not answer
    keeps none of them waiting for another. After `_PATIENCE_S` seconds another write counts in its
    place.
    """

    def __init__(
        self, database: Database, most: int, priority: Priority, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._most = most
        self._priority = priority
        self._clock = clock
        self._lock = threading.Lock()
        self._counted = 0
        self._admitted = 0  # since the events were counted
        self._fresh_until = float("-inf")
        self._count = 0  # number of the last count that was begun
        self._count_ends = float("-inf")  # when that count is given up

    def admit(self, events: int) -> None:
        """Admit so many more, or raise OutboxFull or DatabaseUnavailable."""
        with self._lock:
            before = self._admitted
            count = self._begin_count()
        if count is not None:
            self._finish_count(count, before)
        with self._lock:
            if self._looks_full():
                raise OutboxFull("待建立索引的改动过多，请稍后重试")
            self._admitted += events

    def _looks_full(self) -> bool:
        return self._counted + self._admitted >= self._most

    def _begin_count(self) -> int | None:
        """Return the number of the count that the caller has to make, if any."""
        now = self._clock()
        may_have_room = self._looks_full() and self._admitted > 0
        if now < self._count_ends or (now < self._fresh_until and not may_have_room):
            return None
        self._count += 1
        self._count_ends = now + _PATIENCE_S
        return self._count

    def _finish_count(self, count: int, before: int) -> None:
        counted = None
        try:
            counted = self._database.read(counts.count_up_to, self._most, self._priority)
        finally:
            with self._lock:
                if count == self._count:  # else a later count has taken its place
                    self._count_ends = float("-inf")
                    self._fresh_until = self._clock() + _FRESH_S  # also where it failed
                    if counted is not None:
                        self._counted = counted
                        self._admitted -= before  # later admissions may not be in the count
