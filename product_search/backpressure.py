"""Backpressure: writes are refused while too much index work waits, rather than pile up more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from orm_models import Database
from product_search import outbox_state
from product_search.errors import OutboxFull

_FRESH_S = 1.0


class OutboxGate:
    """Lets a write pass while fewer events than `max_depth` wait.

    The depth is counted at most once a second, and no further than `max_depth`; what passes in
    between is added to it. Other processes' writes are therefore seen up to a second late.
    """

    def __init__(
        self, database: Database, max_depth: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._max_depth = max_depth
        self._clock = clock
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._counted = 0
        self._passed = 0  # since it was counted
        self._fresh_until = float("-inf")

    def admit(self, events: int) -> None:
        """Let a write pass that leaves so many events. Raises OutboxFull, DatabaseUnavailable.

        One write counts, the others go by the last count meanwhile: a database that does not
        answer keeps each of them waiting once, not one after the other.
        """
        if self._is_old() and self._counting.acquire(blocking=False):
            try:
                self._count()
            finally:
                self._counting.release()
        with self._lock:
            if self._looks_full():
                raise OutboxFull("待建立索引的改动过多，请稍后重试")
            self._passed += events

    def _is_old(self) -> bool:
        with self._lock:
            may_have_room = self._looks_full() and self._passed > 0
            return may_have_room or self._clock() >= self._fresh_until

    def _looks_full(self) -> bool:
        return self._counted + self._passed >= self._max_depth

    def _count(self) -> None:
        self._fresh_until = self._clock() + _FRESH_S  # also where it fails
        counted = self._database.read(lambda session: outbox_state.depth(session, self._max_depth))
        with self._lock:
            self._counted, self._passed = counted, 0
