"""What a process measures, in the text format that Prometheus reads."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from data_models import DriftKind, DriftRun, OutboxCounts

MEDIA_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The gauges of one service; each reading sets them anew."""

    def __init__(self) -> None:
        """Register the gauges in a registry of their own."""
        self._registry = CollectorRegistry()
        self._pending = self._gauge("outbox_pending", "Outbox events that wait.")
        self._retrying = self._gauge("outbox_retrying", "Products tried again after a failure.")
        self._failed = self._gauge("outbox_failed", "Products whose indexing was given up.")
        self._drift = Gauge(
            "product_search_drift",
            "Drift that the last finished doctor's walk left, by kind.",
            ["kind"],
            registry=self._registry,
        )
        self._checked = self._gauge(
            "drift_checked_timestamp_seconds", "When that walk ended; 0: there was none."
        )

    def _gauge(self, name: str, purpose: str) -> Gauge:
        return Gauge(f"product_search_{name}", purpose, registry=self._registry)

    def read(self, waiting: OutboxCounts, drift: DriftRun | None) -> bytes:
        """Return the gauges as text, set to these counts."""
        self._pending.set(waiting.pending)
        self._retrying.set(waiting.retrying)
        self._failed.set(waiting.failed)
        if drift is not None:
            self._checked.set(drift.finished_at.timestamp())
            for kind in DriftKind:
                self._drift.labels(kind).set(drift.left_of(kind))
        return generate_latest(self._registry)
