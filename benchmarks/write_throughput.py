"""Accepted single POSTs a second, beside a bare FastAPI insert into the same database, in one run.

python -m benchmarks.write_throughput [DATABASE_URL]

Without a URL on SQLite; on a server the database must be empty, and is emptied at the end. The
service (images, outbox, backpressure and all) and the bare application (bare_insert) run side by
side, and take turns under the same load: 16 keep-alive connections from a third process. Client,
service and database share the machine's cores, so the share says more than the absolute figures.
Three ways: indexing paused, indexing in the service, and indexing by a worker.
"""

from __future__ import annotations

import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.databases import empty_database
from benchmarks.http_load import Load, Order, run_load, write_requests
from product_search.settings import ROOT
from tests.milvus_servers import NetworkMilvus
from tests.servers import free_port, stop

CONNECTIONS = 16
ROUND_S = 4.0
ROUNDS = 5
WRITTEN = 10_000
PRODUCT = {
    "title": "红色双肩包 大容量防水旅行背包",
    "description": "轻便耐磨，可放 15 寸笔记本电脑。",
    "category": "箱包",
    "brand": "远行",
    "price": "129.00",
    "attributes": {"颜色": "红", "容量": "20L"},
}


@contextmanager
def _process(module: list[str], folder: Path, settings: dict[str, str]) -> Iterator[None]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | settings
    with (folder / f"{module[0]}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *module], cwd=folder, env=environment, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            stop(process)


@contextmanager
def _serving(app: str, folder: Path, settings: dict[str, str]) -> Iterator[int]:
    """Start the application under uvicorn; yield its port once it answers."""
    port = free_port()
    with _process(["uvicorn", app, f"--port={port}"], folder, settings):
        transport = httpx.HTTPTransport(retries=10)  # while it starts; each waits twice as long
        with httpx.Client(transport=transport, timeout=60) as client:
            client.get(f"http://127.0.0.1:{port}/openapi.json").raise_for_status()
        yield port


def _rounds(ports: Mapping[str, int], folder: Path) -> dict[str, list[Load]]:
    """Load each application in turn; the first round warms them up."""
    loads: dict[str, list[Load]] = {name: [] for name in ports}
    for _ in range(ROUNDS + 1):
        for name, port in ports.items():
            products = write_requests(folder / "products.jsonl", _products())
            loads[name].append(run_load(Order(port, products, ROUND_S, CONNECTIONS)))
    return {name: done[1:] for name, done in loads.items()}


def _products() -> list[tuple[str, str, dict[str, Any]]]:
    """Return requests for more new products than a stretch of load needs."""
    run = secrets.token_hex(4)
    return [("POST", "/product", PRODUCT | {"sku": f"{run}-{n}"}) for n in range(WRITTEN)]


def _report(way: str, loads: Mapping[str, list[Load]]) -> None:
    sys.stdout.write(f"{way}:\n")
    for name, done in loads.items():
        rates = [load.qps for load in done]
        p50, p99 = (statistics.median(getattr(d, f"p{p}_ms") for d in done) for p in (50, 99))
        refused = sum(d.errors for d in done)
        sys.stdout.write(
            f"  {name}: {statistics.median(rates):.0f} accepted POSTs/s"
            f" ({min(rates):.0f} to {max(rates):.0f}); p50 {p50:.1f} ms, p99 {p99:.1f} ms;"
            f" {refused} refused\n"
        )
    shares = [
        one.qps / other.qps for one, other in zip(loads["service"], loads["bare"], strict=True)
    ]
    spread = f"{min(shares):.2f} to {max(shares):.2f}"
    sys.stdout.write(f"  share of the bare insert: {statistics.median(shares):.2f} ({spread})\n")
    sys.stdout.flush()


def _measure(way: str, url: str, folder: Path, milvus: NetworkMilvus) -> None:
    settings = {
        "PRODUCT_SEARCH_DATA_DIR": str(folder),
        "PRODUCT_SEARCH_DATABASE_URL": url,
        "PRODUCT_SEARCH_MILVUS_URI": milvus.place.uri,
        "PRODUCT_SEARCH_MILVUS_INDEX_TYPE": "FLAT",
        "PRODUCT_SEARCH_ENCODER": "starter",
        "PRODUCT_SEARCH_INDEX_IN_PROCESS": str(way == "indexing in the service").lower(),
        "PRODUCT_SEARCH_OUTBOX_MAX_DEPTH": "10000000",  # here refusals would be the measure's fault
    }
    with ExitStack() as stack:
        bare = _serving("benchmarks.bare_insert:app", folder, {"BARE_INSERT_URL": url})
        ports = {"bare": stack.enter_context(bare)}
        ports["service"] = stack.enter_context(_serving("main:app", folder, settings))
        if way == "indexing by a worker":
            stack.enter_context(_process(["product_search.worker"], folder, settings))
        _report(way, _rounds(ports, folder))


def main() -> None:
    """Measure each way of indexing on a database of its own."""
    for way in ("indexing paused", "indexing in the service", "indexing by a worker"):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as where:
            folder = Path(where)
            url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder / 'catalog.sqlite3'}"
            with empty_database(url):
                milvus = NetworkMilvus(folder)
                try:
                    _measure(way, url, folder, milvus)
                finally:
                    milvus.kill()


if __name__ == "__main__":
    main()
