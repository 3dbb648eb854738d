"""One bound of memory over all images that are decoded at the same time."""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_M_MMAP_THRESHOLD = -3  # glibc's malloc.h
_LARGE = 8 * 1024 * 1024  # bytes


def give_back_large_blocks() -> None:
    """Let glibc return large blocks to the system when they are freed, as those of images are.

    By itself it learns to keep blocks of up to 32 MB for reuse, in each thread's own arena: 40
    images at once then leave gigabytes behind. Elsewhere than on glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


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
