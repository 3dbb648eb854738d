"""A background thread that does one thing over and over: indexing, or relaying to Kafka."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from product_search.errors import AppError, KafkaUnavailable

log = logging.getLogger(__name__)

POLL_S = 0.5  # writes of other processes are seen this late; our own wake the loop
LONGEST_PAUSE_S = 30.0


class Loop:
    """Repeats the step until stopped; pauses, ever longer, while a store is down.

    A step says how much it did; after none, the next waits `idle_s`, or for `wake`.
    `is_failing` says whether the last step failed.
    """

    def __init__(self, name: str, step: Callable[[], int], idle_s: float = POLL_S) -> None:
        self._name = name
        self._step = step
        self._idle_s = idle_s
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self.is_failing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """There is work: don't wait for the next poll."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the step in hand, and end."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:  # a service may leave its step to others
            self._thread.join()

    def _run(self) -> None:
        pause = POLL_S
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                done = self._step()
            except (AppError, KafkaUnavailable) as error:
                log.warning("%s pauses for %.1f s: %s", self._name, pause, error)
            except Exception:  # a dead thread would leave products pending for good
                log.exception("%s failed; it pauses for %.1f s", self._name, pause)
            else:
                pause = POLL_S
                self.is_failing = False
                if not done:
                    self._wake.wait(self._idle_s)
                continue
            self.is_failing = True
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
