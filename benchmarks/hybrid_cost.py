"""The cost of a hybrid search beside each of its legs alone, as ratios in one run.

python -m benchmarks.hybrid_cost [--copies 40]

The sample catalog, each product so many times, in SQLite and Milvus Lite's file with the encoders
that ship. The same queries go by turns through the whole search, from the text to the products:
hybrid, and each leg by itself, for the same line and page. The ratio is hybrid's time over the
slowest leg's, query by query; the median and the middle half are printed. Also without the cost of
the encoders, which all of them pay: recall alone.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from data_models import Leg, SearchMode, SearchRequest
from product_search.bootstrap.assemble import Resources, open_resources
from product_search.catalog.rows import insert_product
from product_search.outbox import counts
from product_search.search.search import SearchService
from product_search.settings import ROOT, Settings

SAMPLE = ROOT / "sample_data"
ROUNDS = 7
QUERIES = (
    "红色双肩包",
    "露营要带的",
    "XR-200",
    "蓝牙耳机 白色",
    "不锈钢保温杯 500ml",
    "给老人用的",
)
TEXT_LEGS = (Leg.bm25, Leg.text_to_text, Leg.text_to_image)


def _searches() -> dict[str, dict[str, Any]]:
    alone = {
        leg.value: {"legs": {other.value: 0.0 for other in TEXT_LEGS if other is not leg}}
        for leg in TEXT_LEGS
    }
    return {"hybrid": {}, **alone}


def _load(resources: Resources, copies: int) -> int:
    with (SAMPLE / "catalog.csv").open(encoding="utf-8") as stream:
        products = list(csv.DictReader(stream))
    kept = {
        row["image_path"]: resources.catalog.keep_image((SAMPLE / row["image_path"]).read_bytes())
        for row in products
        if row["image_path"]
    }
    for copy in range(copies):
        rows = [
            {
                "title": f"{row['title']} 款号{copy}",
                "category": row["category"],
                "brand": row["brand"],
                **kept.get(row["image_path"], {}),
            }
            for row in products
        ]
        resources.database.write(partial(_add, rows=rows))
    resources.indexing_loop.wake()
    while resources.database.read(counts.count_pending):
        time.sleep(0.5)
    return copies * len(products)


def _add(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        insert_product(session, row)


def _search_once(search: SearchService, text: str, legs: dict[str, Any]) -> tuple[float, float]:
    """Return the milliseconds in all, and those of recall."""
    request = SearchRequest(mode=SearchMode.hybrid, text=text, correct=False, **legs)
    begun = time.perf_counter()
    response = search.search(request)
    return 1000 * (time.perf_counter() - begun), response.took_ms.recall


def _measure(search: SearchService) -> dict[str, list[tuple[float, float]]]:
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in _searches()}
    for round_ in range(ROUNDS + 1):
        for text in QUERIES:
            for name, legs in _searches().items():
                spent = _search_once(search, text, legs)
                if round_:  # the first warms up
                    took[name].append(spent)
    return took


def _report(took: dict[str, list[tuple[float, float]]]) -> None:
    for name, spent in took.items():
        whole, recall = (statistics.median(one) for one in zip(*spent, strict=True))
        sys.stdout.write(f"{name}: {whole:.1f} ms, of which recall {recall:.1f} ms\n")
    alone = [name for name in took if name != "hybrid"]
    for place, what in enumerate(("whole search", "recall alone")):
        slowest = max(alone, key=lambda name: statistics.median(s[place] for s in took[name]))
        ratios = [
            ours[place] / theirs[place]
            for ours, theirs in zip(took["hybrid"], took[slowest], strict=True)
        ]
        sys.stdout.write(f"{what}: hybrid / {slowest} = {_quartiles(ratios)}\n")


def _quartiles(ratios: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def main() -> None:
    """Load the catalog, measure, and print what hybrid costs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--copies", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        settings = Settings(_env_file=None, data_dir=Path(where), encoder="starter")
        with open_resources(settings, "benchmark") as resources:
            count = _load(resources, options.copies)
            sys.stdout.write(f"{count} products, {len(QUERIES)} queries, {ROUNDS} rounds\n")
            _report(_measure(resources.search))


if __name__ == "__main__":
    main()
