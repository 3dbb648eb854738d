"""Bounds of what images take at the same time, bytes or turns, over all threads."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from product_search.errors import Overloaded

_A_WHILE_S = 3600.0  # a lock can't be told to wait for ever by a number


@dataclass
class Allowance:
    """What whoever has images decoded may take, in seconds.

    Attributes:
        patience_s: the longest wait before each image.
        decoding_s: what is left for all images that are decoded apart.
    """

    patience_s: float = math.inf
    decoding_s: float = math.inf


_allowance: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


@contextmanager
def allowing(allowance: Allowance) -> Iterator[None]:
    """Let what is decoded inside the block take no more than this."""
    token = _allowance.set(allowance)
    try:
        yield
    finally:
        _allowance.reset(token)


def allowance() -> Allowance:
    """Return what may be taken here: without end, unless `allowing` has set one."""
    return _allowance.get() or Allowance()


class Budget:
    """An amount that threads share: first come, first served."""

    def __init__(self, total: int) -> None:
        """Share this much."""
        self.total = self._free = total
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def reserve(self, amount: int) -> Iterator[None]:
        """Hold the amount, or the whole budget where that is less, until the block ends.

        Raises:
            Overloaded: there was no room for as long as the allowance's patience.
        """
        held = min(amount, self.total)
        self._take(held)
        try:
            yield
        finally:
            with self._changed:
                self._free += held
                self._changed.notify_all()

    def _take(self, held: int) -> None:
        turn, until = object(), time.monotonic() + allowance().patience_s
        with self._changed:
            self._waiting.append(turn)
            try:
                while self._waiting[0] is not turn or self._free < held:
                    left = until - time.monotonic()
                    if left <= 0:
                        raise Overloaded(Overloaded.example)
                    self._changed.wait(min(left, _A_WHILE_S))
                self._free -= held
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()  # the next may have room too
