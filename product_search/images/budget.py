"""One bound of memory over all images that are decoded at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """Bytes that decoders may take together: first come, first served."""

    def __init__(self, total: int) -> None:
        """Share this many bytes."""
        self._total = self._free = total
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Hold `size` bytes, or the whole budget where that is less, until the block ends."""
        held = min(size, self._total)
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            while self._waiting[0] is not turn or self._free < held:
                self._changed.wait()
            self._waiting.popleft()
            self._free -= held
            self._changed.notify_all()  # the next may have room too
        try:
            yield
        finally:
            with self._changed:
                self._free += held
                self._changed.notify_all()
