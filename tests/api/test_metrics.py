"""What `/metrics` says after requests of all kinds, by one process and by several."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi.testclient import TestClient
from prometheus_client.multiprocess import MultiProcessCollector

from product_search.search.inputs import STAGES
from tests.api.exclusive_runs import run_to_end
from tests.api.helpers import create
from tests.clock import until
from tests.milvus_servers import NetworkMilvus
from tests.servers import free_port, service_environment, stop
from tests.unit.test_monitoring import expressions


def samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    pairs = [line.rsplit(" ", 1) for line in lines]
    return {name.removeprefix("product_search_"): float(value) for name, value in pairs}


def asked(api: TestClient) -> dict[str, float]:
    return samples(api.get("/metrics").text)


def grown(api: TestClient, action: Callable[[], Any]) -> dict[str, float]:
    """What the action has added to the metrics; the tests of a process share its counters."""
    before = asked(api)
    action()
    after = asked(api)
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def requests(route: str, method: str, status: int) -> str:
    return f'http_requests_total{{method="{method}",route="{route}",status="{status}"}}'


def test_a_search_tells_its_stages_and_its_request(api: TestClient) -> None:
    create(api, wait=True)
    found = grown(api, lambda: api.post("/search", json={"text": "书包"}))
    for stage in STAGES:
        assert found[f'stage_seconds_count{{mode="hybrid",stage="{stage}"}}'] == 1
    assert found[requests("/search", "POST", 200)] == 1
    assert found['http_request_seconds_count{method="POST",route="/search"}'] == 1
    assert found['http_request_seconds_sum{method="POST",route="/search"}'] > 0
    assert found['http_request_seconds_bucket{le="+Inf",method="POST",route="/search"}'] == 1


def test_a_request_counts_by_its_template_and_status(api: TestClient) -> None:
    found = grown(api, lambda: api.get("/product/987654"))
    assert found[requests("/product/{product_id}", "GET", 404)] == 1
    found = grown(api, lambda: api.post("/search", json={"text": ""}))
    assert found[requests("/search", "POST", 422)] == 1
    json = {"content-type": "application/json"}
    found = grown(api, lambda: api.post("/search", content=b" " * 16_000_000, headers=json))
    assert found[requests("/search", "POST", 413)] == 1
    found = grown(api, lambda: api.get("/search"))
    assert sum(value for name, value in found.items() if 'status="405"' in name) == 1


def test_whatever_clients_send_no_series_are_added(api: TestClient) -> None:
    api.get("/nowhere")
    api.request("BREW", "/nowhere")
    before = set(asked(api))
    for n in range(5):
        api.get(f"/nowhere/{n}")
        api.request(f"BREW{n}", "/nowhere")
        api.get(f"/product/{n}")
    added = set(asked(api)) - before
    assert {name for name in added if "{product_id}" not in name} == set()
    assert requests("unmatched", "GET", 404) in before


def test_the_outbox_and_the_runs_are_as_the_database_has_them(api: TestClient) -> None:
    create(api, wait=True)
    found = asked(api)
    assert (found["outbox_pending"], found["outbox_oldest_age_seconds"]) == (0, 0)
    assert found['runs{state="failed"}'] == 0


def test_the_dashboard_and_the_alerts_ask_for_what_is_exposed(api: TestClient) -> None:
    api.post("/search", json={"text": "书包"})
    run_to_end(api, "/system/drift", shown_at="/system/drift")
    exposed = set()
    for line in api.get("/metrics").text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            exposed |= {name + end for end in ends}
    asked_for = {name for one in expressions() for name in re.findall(r"product_search_\w+", one)}
    assert asked_for - exposed == set()
    assert {name for name in exposed if name.endswith("_total")} <= asked_for


@contextmanager
def two_processes(folder: Path) -> Iterator[str]:
    """The address of a service of two processes over a Milvus server."""
    milvus, port, log = NetworkMilvus(folder), free_port(), folder / "log"
    environment = service_environment(folder) | {
        "PRODUCT_SEARCH_MILVUS_URI": milvus.place.uri,
        "PRODUCT_SEARCH_MILVUS_INDEX_TYPE": "FLAT",
        "TMPDIR": str(folder),
    }
    command = [sys.executable, "-m", "uvicorn", "main:app", "--workers", "2", "--port", str(port)]
    with log.open("w", encoding="utf-8") as output:
        service = subprocess.Popen(
            command, cwd=folder, env=os.environ | environment, stdout=output, stderr=output
        )
    try:
        until(lambda: log.read_text("utf-8").count("startup complete") == 2, "two processes")
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(service)
        milvus.kill()


def processes_that_served(folder: Path) -> int:
    """How many processes have counted a request for a product."""
    files = [str(file) for file in folder.glob("product-search-metrics-*/counter_*.db")]
    each = [MultiProcessCollector.merge([file]) for file in files]  # type: ignore[no-untyped-call]
    counted = [
        sample.labels.get("route") for one in each for metric in one for sample in metric.samples
    ]
    return counted.count("/product/{product_id}")


def test_two_processes_are_told_as_one(tmp_path: Path) -> None:
    sent = 0
    with two_processes(tmp_path) as address:
        while processes_that_served(tmp_path) < 2:
            # A connection for each request, which either process may accept.
            assert httpx.get(f"{address}/product/1", trust_env=False).status_code == 404
            sent += 1
        name = requests("/product/{product_id}", "GET", 404)
        for _ in range(10):
            assert samples(httpx.get(f"{address}/metrics", trust_env=False).text)[name] == sent
