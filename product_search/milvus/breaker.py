"""A breaker between this process and Milvus: while Milvus is away, calls fail at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from product_search.errors import VectorStoreUnavailable

log = logging.getLogger(__name__)

PAUSE_S = 0.5  # between two attempts to reach Milvus


class Breaker:
    """Opens where Milvus does not answer, and closes once a thread of its own has reached it.

    Without it each search would wait for its own timeout, and hold a thread meanwhile.
    """

    def __init__(self, reach: Callable[[], None]) -> None:
        """Start closed; `reach` raises VectorStoreUnavailable where Milvus does not answer."""
        self._reach = reach
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._ended = threading.Event()

    def check(self) -> None:
        """Raise VectorStoreUnavailable while the breaker is open."""
        if self._reason is not None:
            raise VectorStoreUnavailable(self._reason)

    def open(self, reason: str) -> None:
        """Fail calls for this reason until Milvus answers; does nothing where it is open."""
        with self._lock:
            if self._reason is not None or self._ended.is_set():
                return
            self._reason = reason
        log.warning("Milvus does not answer: its calls fail at once until it does")
        threading.Thread(target=self._wait, name="milvus breaker", daemon=True).start()

    def end(self) -> None:
        """Look for Milvus no longer."""
        self._ended.set()

    def _wait(self) -> None:
        while not self._ended.is_set():
            try:
                self._reach()
            except VectorStoreUnavailable:
                self._ended.wait(PAUSE_S)
            else:
                break
        self._reason = None
        log.info("Milvus answers again")
