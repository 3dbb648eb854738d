"""Primary keys that grow with time, drawn without asking a database."""

from __future__ import annotations

import secrets
import threading
import time

_EPOCH_MS = 1_577_836_800_000  # 2020-01-01T00:00:00Z: 41 bits from here last until 2089
_RANDOM_BITS = 22


class PrimaryKeySource:
    """Draws 63-bit, time-ordered primary keys: 41 bits of milliseconds, then 22 random bits."""

    def __init__(self) -> None:
        """Begin anew; keys of one source never repeat or fall."""
        self._lock = threading.Lock()
        self._last = 0

    def draw(self) -> int:
        """Return a key above every key that this source has drawn."""
        milliseconds = time.time_ns() // 1_000_000 - _EPOCH_MS
        fresh = milliseconds << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        with self._lock:
            self._last = max(fresh, self._last + 1)
            return self._last


draw_primary_key = PrimaryKeySource().draw
