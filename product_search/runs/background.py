"""Background threads: a loop that repeats a step, and a keeper that renews a lease."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from datetime import timedelta

from product_search.errors import AppError, KafkaUnavailable

log = logging.getLogger(__name__)

POLL_S = 0.5  # writes of other processes are seen this late; our own wake the loop
MAX_PAUSE_S = 30.0


class Loop:
    """A thread that repeats a step until it is stopped, and pauses while a store is down.

    The step returns how much it did. After 0 the next step waits `idle_s` seconds, or for `wake`;
    after an error it waits twice as long each time, up to `max_pause_s` seconds, and `wake` ends
    that pause only where `wakes_from_pause` says so: the writes of a busy service would else keep
    trying a store that is down. `failure` is what the last step failed of, for people; None where
    it did not. Loops that share `stopping` begin to stop together.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], int],
        *,
        idle_s: float = POLL_S,
        max_pause_s: float = MAX_PAUSE_S,
        wakes_from_pause: bool = False,
        stopping: threading.Event | None = None,
    ) -> None:
        """Prepare the thread; `start` starts it."""
        self._name = name
        self._step = step
        self._idle_s = idle_s
        self._max_pause_s = max_pause_s
        self._wake = threading.Event()
        self._stopping = stopping or threading.Event()
        self._pause_ends = self._wake if wakes_from_pause else self._stopping
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Begin the next step now: there is work, no need to wait for the next poll."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the current step and end the thread, if it was started."""
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
                self.failure = str(error)
                log.warning("%s pauses for %.1f s: %s", self._name, pause, _with_cause(error))
            except Exception as error:  # a dead thread would leave products or runs pending
                self.failure = f"{type(error).__name__}，详情在日志里"
                log.exception("%s failed; it pauses for %.1f s", self._name, pause)
            else:
                pause = POLL_S
                self.failure = None
                if not done:
                    self._wake.wait(self._idle_s)
                continue
            self._pause_ends.wait(pause)
            pause = min(2 * pause, self._max_pause_s)


def _with_cause(error: Exception) -> str:
    """Return the error as people are told of it, and what the operator needs to know besides."""
    cause = error.__cause__
    return f"{error} ({type(cause).__name__}: {cause})" if cause else str(error)


@contextmanager
def keep_lease(renew: Callable[[], object], lease: timedelta) -> Iterator[None]:
    """Call `renew` three times per lease, however long the block takes.

    Errors of `renew` are logged only: a lost lease is noticed where the work is saved.
    """
    done = threading.Event()

    def keep() -> None:
        while not done.wait(lease.total_seconds() / 3):
            try:
                renew()
            except AppError as error:
                log.warning("a lease was not renewed: %s", error)
            except Exception:  # a dead keeper would let go of work in hand
                log.exception("a lease was not renewed")

    ours = copy_context()  # its lines in the log are this work's
    keeper = threading.Thread(target=ours.run, args=(keep,), name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
