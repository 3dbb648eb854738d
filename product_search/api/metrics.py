"""What `/metrics` reads of the database: the outbox, and the drift that was found."""

from __future__ import annotations

from data_models import DriftKind, DriftRun, OutboxCounts
from product_search.telemetry import Reading, expose


def write_metrics(waiting: OutboxCounts, drift: DriftRun | None) -> bytes:
    """Return these counts, and what the service has observed, for Prometheus."""
    left = {} if drift is None else {kind.value: drift.left_of(kind) for kind in DriftKind}
    checked_at = 0.0 if drift is None else drift.finished_at.timestamp()
    return expose(
        [
            _gauge("outbox_pending", "Outbox events that wait.", waiting.pending),
            _gauge("outbox_retrying", "Products tried again after a failure.", waiting.retrying),
            _gauge("outbox_failed", "Products whose indexing was given up.", waiting.failed),
            Reading(
                "drift", "Drift that the last finished doctor's walk left, by kind.", left, "kind"
            ),
            _gauge(
                "drift_checked_timestamp_seconds",
                "When that walk ended; 0: there was none.",
                checked_at,
            ),
        ]
    )


def _gauge(name: str, purpose: str, value: float) -> Reading:
    return Reading(name, purpose, {"": value})
