"""Whether a store answers, told soon also where it hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from product_search.errors import AppError

PATIENCE_S = 1.0  # what takes longer to say that it is there is as good as down


class Pulse:
    """The latest ping of a store, in a thread that nobody has to wait for; any thread may ask."""

    def __init__(self) -> None:
        """Ping nothing yet."""
        self._lock = threading.Lock()
        self._answer: Future[bool] | None = None
        self._deadline = 0.0

    def is_felt(self, ping: Callable[[], None]) -> bool:
        """Return whether `ping` ends well, within PATIENCE_S since it began.

        Where one is under way, that one counts: a store that hangs has a single thread waiting.

        Raises:
            Exception: what `ping` raises, but an AppError: then the store does not answer.
        """
        with self._lock:
            if self._answer is None or self._answer.done():
                begun: Future[bool] = Future()
                threading.Thread(target=_run, args=(ping, begun), name="pulse", daemon=True).start()
                self._answer, self._deadline = begun, time.monotonic() + PATIENCE_S
            answer, deadline = self._answer, self._deadline
        try:
            return answer.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return False


def _run(ping: Callable[[], None], answer: Future[bool]) -> None:
    try:
        ping()
    except AppError:
        answer.set_result(False)
    except Exception as error:  # noqa: BLE001 - those who wait for the answer get it
        answer.set_exception(error)
    else:
        answer.set_result(True)
