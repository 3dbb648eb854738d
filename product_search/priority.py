"""Threads that leave the processors to others: a search by a picture costs as much as ten by text.

Where both wait for a processor, the scheduler gives these threads the lesser part, as `nice` does
to processes. Only Linux knows this of single threads; elsewhere all are alike.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
NICENESS = 10  # about a tenth of a usual thread's part, while both want to run


def give_way() -> None:
    """Let the calling thread, and the threads that it starts, leave the processors to others."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def giving_way(make: Callable[[], T]) -> T:
    """Return `make()`, whose threads give way: those of a network's session, say."""
    with ThreadPoolExecutor(1, initializer=give_way) as thread:
        return thread.submit(make).result()
