"""What `/metrics` tells: each request as it is answered, and what the database holds just then."""

from __future__ import annotations

import logging
import time
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data_models import DriftKind
from orm_models import Database
from product_search import tracing
from product_search.drift import reports
from product_search.outbox import counts
from product_search.runs import listing
from product_search.telemetry import Reading, observe_request

log = logging.getLogger(__name__)

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestMetrics:
    """ASGI middleware: counts and times each request by its route's template; logs failed answers.

    What fits no route, and methods that HTTP does not know, have one name each: whatever clients
    send, there are no more time series than routes.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Watch for the status, and count the request when its answer has been sent."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500  # that of an error which no handler takes

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with tracing.request_span(scope["headers"]) as span:
            try:
                await self._app(scope, receive, watched)
            finally:
                route = getattr(scope.get("route"), "path", "unmatched")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                seconds = time.perf_counter() - begun
                observe_request(route, method, status, seconds)
                if span is not None:
                    tracing.name_request(span, method, route, status)
                if status >= 500:
                    path = quote(scope["path"])  # nothing that a client sends begins a line
                    told = method, path, status, seconds * 1000
                    log.warning("%s %s: %d after %.0f ms", *told, extra={"route": route})


def read_gauges(database: Database) -> list[Reading]:
    """Return what waits, what was given up, the states of runs, and the drift that was found.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    waiting = database.read(counts.fetch_counts)
    oldest, runs = database.read(counts.fetch_oldest_age), database.read(listing.count_by_state)
    drift = database.read(reports.fetch_last)
    left = {} if drift is None else {kind.value: drift.left_of(kind) for kind in DriftKind}
    checked = 0.0 if drift is None else drift.finished_at.timestamp()
    return [
        _gauge("outbox_pending", "Outbox events that wait.", waiting.pending),
        _gauge("outbox_oldest_age_seconds", "Age of the oldest of these; 0: none waits.", oldest),
        _gauge("outbox_retrying", "Products tried again after a failure.", waiting.retrying),
        _gauge("outbox_failed", "Products whose indexing was given up.", waiting.failed),
        Reading("runs", "Background runs, by state.", runs, "state"),
        Reading("drift", "Drift that the last finished doctor's walk left, by kind.", left, "kind"),
        _gauge(
            "drift_checked_timestamp_seconds", "When that walk ended; 0: there was none.", checked
        ),
    ]


def _gauge(name: str, purpose: str, value: float) -> Reading:
    return Reading(name, purpose, {"": value})
