"""What several processes of one service observe is told by whichever of them is asked."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from textwrap import dedent

import pytest

from product_search.settings import ROOT

_SPAWN = multiprocessing.get_context("spawn")


def samples(text: bytes) -> dict[str, float]:
    lines = text.decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name.removeprefix("product_search_"): float(value) for name, value in pairs}


def worker(asked: Connection) -> None:
    """A process of the service: observes, then tells what all have observed, when asked."""
    from product_search import telemetry  # as uvicorn's workers do: once the process has begun

    queue, cache = telemetry.QueueMetrics("texts"), telemetry.CacheMetrics("texts")
    queue.depth.inc(3)
    queue.batch_size.observe(2)
    queue.refused.inc()
    cache.joined.inc()
    telemetry.observe_stages("hybrid", {"encode": 20.0})
    telemetry.observe_request("/search", "POST", 200, 0.02)
    asked.send(b"ready")
    while asked.recv():
        asked.send(telemetry.expose([telemetry.Reading("outbox_pending", "", {"": 7})]))


def started() -> tuple[SpawnProcess, Connection]:
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=worker, args=(theirs,), daemon=True)
    process.start()
    assert ours.recv() == b"ready"
    return process, ours


def asked(worker: Connection) -> dict[str, float]:
    worker.send(True)
    return samples(worker.recv())


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_any_process_tells_what_all_of_them_observed(temporary: Path) -> None:
    (first, ask_first), (second, ask_second) = started(), started()
    found = asked(ask_first)
    assert found == asked(ask_second)
    assert found['stage_seconds_count{mode="hybrid",stage="encode"}'] == 2
    assert found['stage_seconds_sum{mode="hybrid",stage="encode"}'] == pytest.approx(0.04)
    assert found['batch_size_bucket{le="2.0",queue="texts"}'] == 2
    assert found['queue_depth{queue="texts"}'] == 6
    assert found['queue_refused_total{queue="texts"}'] == 2
    assert found['cache_lookups_total{cache="texts",outcome="joined"}'] == 2
    assert found['http_requests_total{method="POST",route="/search",status="200"}'] == 2
    assert found["outbox_pending"] == 7
    second.kill()
    second.join()
    found = asked(ask_first)
    assert found['queue_depth{queue="texts"}'] == 3, "nothing waits in a process that is dead"
    assert found['batch_size_count{queue="texts"}'] == 2, "what it did has been done"
    ask_first.send(False)
    first.join()


def test_a_service_starts_from_nothing_and_removes_what_an_ended_one_left(temporary: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    left = temporary / f"product-search-metrics-{int(ended.stdout)}-0123456789abcdef"
    living = temporary / "product-search-metrics-1-0123456789abcdef"
    others = temporary / "product-search-metrics-of-somebody-else"
    for folder in (left, living, others):
        folder.mkdir()
    process, ask = started()
    assert asked(ask)['batch_size_count{queue="texts"}'] == 1
    assert not left.exists()
    assert living.exists()
    assert others.exists()
    ask.send(False)
    process.join()


def test_a_process_by_itself_writes_no_files(temporary: Path) -> None:
    script = """
        from product_search import telemetry
        telemetry.QueueMetrics("texts").depth.inc(3)
        print(telemetry.expose([]).decode())
    """
    command = [sys.executable, "-c", dedent(script)]
    alone = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    assert samples(alone.stdout.strip())['queue_depth{queue="texts"}'] == 3
    assert list(temporary.iterdir()) == []
