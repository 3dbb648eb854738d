"""The background thread that keeps Milvus in step with the outbox."""

from __future__ import annotations

import logging
import threading

from product_search.errors import AppError
from product_search.indexing import Indexer

log = logging.getLogger(__name__)

POLL_S = 0.5  # writes of other processes are seen this late; our own wake the loop
LONGEST_PAUSE_S = 30.0


class IndexingLoop:
    """Applies outbox events until stopped; pauses, ever longer, while a store is down.

    `is_failing` says whether its last attempt failed.
    """

    def __init__(self, indexer: Indexer, batch_size: int) -> None:
        self._indexer = indexer
        self._batch_size = batch_size
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self.is_failing = False
        self._thread = threading.Thread(target=self._run, name="indexing", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """There is work: don't wait for the next poll."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the batch in hand, and end."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:  # a service may leave indexing to workers
            self._thread.join()

    def _run(self) -> None:
        pause = POLL_S
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                applied = self._indexer.apply_oldest(self._batch_size)
            except AppError as error:
                log.warning("indexing pauses for %.1f s: %s", pause, error)
            except Exception:  # a dead thread would leave products pending for good
                log.exception("indexing failed; it pauses for %.1f s", pause)
            else:
                pause = POLL_S
                self.is_failing = False
                if not applied:
                    self._wake.wait(POLL_S)
                continue
            self.is_failing = True
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
