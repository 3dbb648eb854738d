"""Refusals in the log: each kind is told, and nobody fills the log with them."""

from __future__ import annotations

import logging
import time
from urllib.parse import quote

from starlette.types import Scope

from product_search.errors import AppError

log = logging.getLogger(__name__)

_PAUSE_S = 10.0  # between two lines of one kind
_MAX_SHOWN = 200  # characters of a path


class UnreadableLog(logging.Filter):
    """Lets Uvicorn log a request that can't be read only where it has not just logged another."""

    _LINE = "Invalid HTTP request received."

    def __init__(self) -> None:
        """Let the first pass."""
        super().__init__()
        self._logged_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be logged."""
        if record.msg != self._LINE:
            return True
        now = time.monotonic()
        if now < self._logged_at + _PAUSE_S:
            return False
        self._logged_at = now
        return True


class RefusalLog:
    """Logs the first refusal of a kind, and from then on one at times with how many there were.

    `/metrics` counts all of them.
    """

    def __init__(self) -> None:
        """Log nothing yet."""
        self._kinds: dict[str, tuple[float, int]] = {}  # when logged, and how many since

    def note(self, scope: Scope, error: AppError) -> None:
        """Log that the request was refused for this error, unless one like it just was.

        Answers of status 500 and above are logged by `api.metrics`, each.
        """
        if error.status >= 500:
            return
        logged_at, unlogged = self._kinds.get(error.code, (float("-inf"), 0))
        now = time.monotonic()
        if now < logged_at + _PAUSE_S:
            self._kinds[error.code] = logged_at, unlogged + 1
            return
        self._kinds[error.code] = now, 0
        log.warning(
            "%s %s from %s: %d %s (%s)%s",
            scope["method"],
            quote(scope["path"])[:_MAX_SHOWN],
            (scope.get("client") or ("?",))[0],
            error.status,
            error.code,
            error.message,
            f"; {unlogged} more of this kind before" if unlogged else "",
        )
