"""Leases on claimed work, kept for as long as the work takes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from product_search.errors import AppError

log = logging.getLogger(__name__)


@contextmanager
def keep_lease(renew: Callable[[], object], lease: timedelta) -> Iterator[None]:
    """However long the work in here takes, `renew` is called before the lease ends.

    What `renew` raises is logged: that a lease was lost is noticed where the work is saved.
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

    keeper = threading.Thread(target=keep, name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
