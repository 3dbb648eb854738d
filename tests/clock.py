"""Waiting for what is to happen, with an end to it."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE_S = 180.0


def until(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {deadline_s} s"
        time.sleep(0.02)
