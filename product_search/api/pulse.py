"""What is wrong with a store, told soon also where it hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from product_search.errors import AppError

PATIENCE_S = 1.0  # what takes longer to say that it is there is as good as down
HANGS = "没有响应"


class Pulse:
    """The latest ping of a store, in a thread that nobody has to wait for; any thread may ask."""

    def __init__(self) -> None:
        """Ping nothing yet."""
        self._lock = threading.Lock()
        self._answer: Future[str | None] | None = None
        self._deadline = 0.0

    def find_fault(self, ping: Callable[[], None]) -> str | None:
        """Return what is wrong where `ping` does not end well within PATIENCE_S; else None.

        Where one is under way, that one counts: a store that hangs has a single thread waiting.

        Raises:
            Exception: what `ping` raises, but an AppError: that is a fault of the store.
        """
        with self._lock:
            if self._answer is None or self._answer.done():
                begun: Future[str | None] = Future()
                threading.Thread(target=_run, args=(ping, begun), name="pulse", daemon=True).start()
                self._answer, self._deadline = begun, time.monotonic() + PATIENCE_S
            answer, deadline = self._answer, self._deadline
        try:
            return answer.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return HANGS


def _run(ping: Callable[[], None], answer: Future[str | None]) -> None:
    try:
        ping()
    except AppError as error:
        answer.set_result(error.message)
    except Exception as error:  # noqa: BLE001 - those who wait for the answer get it
        answer.set_exception(error)
    else:
        answer.set_result(None)
