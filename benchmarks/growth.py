"""How import, search, memory and disk grow with the catalogue: `make bench-growth`.

python -m benchmarks.growth [--sizes 1000 10000 100000] [--seconds 10]

Each catalogue is imported anew, a third of its products with pictures, encoded by the starter; then
one client searches it with new queries. Writes docs/benchmarks-growth.json and docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.http_load import Order, run_load, write_requests
from benchmarks.rig import machine, processes, report, words
from benchmarks.rig.catalogue import Checkout, import_products
from benchmarks.rig.contenders import MODES, search_request
from benchmarks.rig.folders import BENCH, fresh, say

SEED = 29
SIZES = (1_000, 10_000, 100_000)
TEXT_MODES = tuple(mode for mode in MODES if mode != "image_to_image")
MOST_PER_S = 300


def measure(products: int, seconds: float, texts: Iterator[str]) -> dict[str, Any]:
    """Import a catalogue of this size, search it, and return what both took."""
    data, checkout = fresh("growth"), Checkout()
    say(f"importing {products:,} products …")
    made = import_products(checkout, data, products)
    with processes.serving(
        "service",
        processes.service_command(checkout),
        checkout.environment(data),
        search_request(MODES[0], next(texts)),
        BENCH / "growth.log",
    ) as server:
        p50 = {mode: _p50(server, mode, seconds, texts) for mode in TEXT_MODES}
        memory = asdict(server.memory())
    found = {
        "products": products,
        "rows_per_s": products / made.seconds,
        "import_peak_mb": made.peak_mb,
        "p50_ms": p50,
        "memory_mb": memory,
        "disk_mb": _disk(data),
    }
    say(f"  {found}")
    return found


def _p50(server: processes.Server, mode: str, seconds: float, texts: Iterator[str]) -> float:
    queries = islice(texts, int((seconds + 1) * MOST_PER_S))
    requests = [search_request(mode, query) for query in queries]
    path = write_requests(BENCH / "growth.jsonl", requests)
    return run_load(Order(server.port, path, seconds, clients=1)).p50_ms


def _disk(data: Path) -> dict[str, float]:
    """Return the MB of each store's files."""
    parts = {"database": "catalog.sqlite3*", "vectors": "milvus.db*", "images": "images/**/*"}
    return {
        name: sum(path.stat().st_size for path in data.glob(files) if path.is_file()) / 2**20
        for name, files in parts.items()
    }


def slopes(sizes: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the fitted line of each figure: its base, and what 100,000 products more add."""
    counts = [one["products"] for one in sizes]
    values = {f"p50 of {mode}, ms": [one["p50_ms"][mode] for one in sizes] for mode in TEXT_MODES}
    for name in ("server", "milvus"):
        values[f"memory of {name}, MB"] = [one["memory_mb"][name] for one in sizes]
    values["disk, MB"] = [sum(one["disk_mb"].values()) for one in sizes]
    found = {}
    for name, measured in values.items():
        slope, base = np.polyfit(counts, measured, 1)
        found[name] = {"base": float(base), "per_100k": float(slope) * 100_000}
    return found


def main() -> None:
    """Measure each size, and write the documents."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    BENCH.mkdir(exist_ok=True)
    needed = len(options.sizes) * len(TEXT_MODES) * int((options.seconds + 1) * MOST_PER_S + 2)
    texts = iter(words.queries(SEED, needed))
    sizes = [measure(size, options.seconds, texts) for size in options.sizes]
    figures = {"made": machine.describe(), "sizes": sizes, "slopes": slopes(sizes)}
    report.GROWTH.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", "utf-8")
    report.write()


if __name__ == "__main__":
    main()
