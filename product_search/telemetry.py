"""Prometheus collectors that every layer observes through, and what `/metrics` writes of them.

Each call costs a few microseconds at most:

- `observe_stages(mode, milliseconds)`: once for each search that was answered.
- `QueueMetrics(queue)`: made with a queue. `depth.inc()` and `depth.dec(n)` as items enter and
  leave, `batch_size.observe(n)` for each batch, `refused.inc()` for an item that finds the queue
  full, `dropped.inc()` for an item that nobody waits for any more, or that has
  waited for too long.
- `CacheMetrics(cache)`: made with a cache. `hit.inc()`, `miss.inc()`, or `joined.inc()` where
  another caller computes the same value at the moment.
- `observe_request(route, method, status, seconds)`: once for each HTTP request.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

MEDIA_TYPE = CONTENT_TYPE_LATEST
_PREFIX = "product_search_"
_FOLDERS = "product-search-metrics"
_SECONDS = (0.0001, 0.0003, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def _share_values() -> Path | None:
    """Keep values in files, where this process is one of several; return the files' folder.

    `uvicorn --workers N` starts each worker as a child of Python's multiprocessing, and a scrape
    reaches any one of them. Its siblings know each other by the key that their parent gave them.
    prometheus_client takes the folder from the environment alone.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return None
    key = hashlib.sha256(multiprocessing.current_process().authkey).hexdigest()[:16]
    folder = Path(tempfile.gettempdir(), f"{_FOLDERS}-{parent.pid}-{key}")
    _remove_left_behind(folder, parent.pid)
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
    return folder


def _remove_left_behind(mine: Path, my_parent: int | None) -> None:
    """Remove the folders of services that have ended."""
    for folder in mine.parent.glob(f"{_FOLDERS}-*"):
        named = re.fullmatch(rf"{_FOLDERS}-(\d{{1,9}})-[0-9a-f]{{16}}", folder.name)
        if named is None or folder == mine:
            continue
        parent = int(named[1])
        if parent == my_parent or not _is_alive(parent):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


disable_created_metrics()  # type: ignore[no-untyped-call]
_FOLDER = _share_values()
_REGISTRY = CollectorRegistry()

_STAGE_SECONDS = Histogram(
    f"{_PREFIX}stage_seconds",
    "Time that answered searches spent in a stage.",
    ["stage", "mode"],
    buckets=_SECONDS,
    registry=_REGISTRY,
)
_QUEUE_DEPTH = Gauge(
    f"{_PREFIX}queue_depth",
    "Items that wait in a queue.",
    ["queue"],
    multiprocess_mode="livesum",
    registry=_REGISTRY,
)
_BATCH_SIZE = Histogram(
    f"{_PREFIX}batch_size",
    "Items of different requests that were worked on together.",
    ["queue"],
    buckets=_SIZES,
    registry=_REGISTRY,
)
_QUEUE_REFUSED = Counter(
    f"{_PREFIX}queue_refused", "Items refused by a full queue.", ["queue"], registry=_REGISTRY
)
_QUEUE_DROPPED = Counter(
    f"{_PREFIX}queue_dropped",
    "Items nobody waited for any more, or that had waited for too long.",
    ["queue"],
    registry=_REGISTRY,
)
_CACHE_LOOKUPS = Counter(
    f"{_PREFIX}cache_lookups",
    "Lookups in a cache; joined: the value was being computed for another caller.",
    ["cache", "outcome"],
    registry=_REGISTRY,
)
_REQUESTS = Counter(
    f"{_PREFIX}http_requests",
    "HTTP requests answered.",
    ["route", "method", "status"],
    registry=_REGISTRY,
)
_REQUEST_SECONDS = Histogram(
    f"{_PREFIX}http_request_seconds",
    "Time from a request's arrival to the end of its answer.",
    ["route", "method"],
    buckets=_SECONDS[2:],
    registry=_REGISTRY,
)


class QueueMetrics:
    """What a queue tells about itself; queues of one name are added up."""

    def __init__(self, queue: str) -> None:
        """Bind the collectors to the queue's name."""
        self.depth = _QUEUE_DEPTH.labels(queue)
        self.batch_size = _BATCH_SIZE.labels(queue)
        self.refused = _QUEUE_REFUSED.labels(queue)
        self.dropped = _QUEUE_DROPPED.labels(queue)


class CacheMetrics:
    """How often a cache has what is looked for."""

    def __init__(self, name: str) -> None:
        """Bind the collectors to the cache's name."""
        self.hit = _CACHE_LOOKUPS.labels(name, "hit")
        self.miss = _CACHE_LOOKUPS.labels(name, "miss")
        self.joined = _CACHE_LOOKUPS.labels(name, "joined")


def observe_stages(mode: str, milliseconds: Mapping[str, float]) -> None:
    """Count the time that an answered search of this mode spent in each stage."""
    for stage, spent in milliseconds.items():
        _stage(stage, mode).observe(spent / 1000)


def observe_request(route: str, method: str, status: int, seconds: float) -> None:
    """Count an HTTP request, by the template of its route."""
    requests, latency = _request(route, method, status)
    requests.inc()
    latency.observe(seconds)


@cache
def _stage(stage: str, mode: str) -> Histogram:
    return _STAGE_SECONDS.labels(stage, mode)


@cache
def _request(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return _REQUESTS.labels(route, method, str(status)), _REQUEST_SECONDS.labels(route, method)


class Reading(NamedTuple):
    """A gauge that is read when it is asked for; its values by the label, of which "" is none."""

    name: str
    purpose: str
    values: Mapping[str, float]
    label: str = ""


def expose(readings: Iterable[Reading]) -> bytes:
    """Return these gauges, and what all processes of the service observed, as MEDIA_TYPE."""
    registry = CollectorRegistry()
    registry.register(_Readings(readings))
    registry.register(_observed())
    return generate_latest(registry)


def _observed() -> Collector:
    if _FOLDER is None:
        return _REGISTRY
    for file in _FOLDER.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not _is_alive(pid):
            mark_process_dead(pid, str(_FOLDER))  # type: ignore[no-untyped-call]
    return MultiProcessCollector(None, str(_FOLDER))  # type: ignore[no-untyped-call]


class _Readings(Collector):
    def __init__(self, readings: Iterable[Reading]) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        for one in self._readings:
            family = GaugeMetricFamily(
                _PREFIX + one.name, one.purpose, labels=[one.label] if one.label else []
            )
            for value, reading in one.values.items():
                family.add_metric([value] if one.label else [], reading)
            yield family
