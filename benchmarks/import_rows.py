"""Rows a second of a bulk import without images, beside a bare INSERT of the same rows.

python -m benchmarks.import_rows

On a SQLite file, and on PRODUCT_SEARCH_TEST_DATABASE_URL where it is set, whose tables are dropped.
Nothing is indexed meanwhile. Both ways take turns, so that what else the machine does hits both.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, insert

from orm_models import Database, Product
from product_search.bootstrap.migrate import migrate
from product_search.bulk.importer import BATCH_SIZE, import_file
from product_search.catalog.products import Catalog
from product_search.database.primary_keys import draw_primary_key
from product_search.images.store import ImageStore

ROWS = 10_000
ROUNDS = 3
KINDS = ("双肩包", "保温杯", "连衣裙", "雨伞", "台灯")


def _rows(start: int) -> list[dict[str, Any]]:
    return [
        {
            "sku": f"S-{number:08}",
            "title": f"{KINDS[number % 5]} 第 {number} 款 大容量 学生 通勤",
            "description": "防泼水面料，可放 15.6 英寸笔记本电脑，三年质保。" * 2,
            "category": KINDS[number % 5],
            "brand": f"品牌{number % 100}",
            "price": Decimal(number % 100_000) / 100,
            "attributes": {"颜色": "红", "容量": f"{number % 40}L", "材质": "尼龙"},
        }
        for number in range(start, start + ROWS)
    ]


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"attributes": json.dumps(row["attributes"])})


def _insert(database: Database, rows: list[dict[str, Any]]) -> None:
    now = datetime.now(UTC)
    for start in range(0, len(rows), BATCH_SIZE):
        batch = [
            row
            | {
                "milvus_id": draw_primary_key(),
                "revision": 1,
                "index_status": "pending",
                "created_at": now,
                "updated_at": now,
            }
            for row in rows[start : start + BATCH_SIZE]
        ]
        with database.engine.begin() as connection:
            connection.execute(insert(Product.__table__), batch)  # type: ignore[arg-type]


def _per_second(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return ROWS / (time.perf_counter() - begun)


def _measure(name: str, database: Database, folder: Path) -> None:
    catalog = Catalog(database, ImageStore(folder / "images"))
    file = folder / "rows.csv"
    run_import = partial(import_file, catalog, file, folder)
    bare, imported = [], []
    for number in range(ROUNDS):
        bare.append(_per_second(partial(_insert, database, _rows(2 * number * ROWS))))
        _write_csv(file, _rows((2 * number + 1) * ROWS))
        imported.append(_per_second(run_import))
    again = _per_second(run_import)
    ratio = statistics.median(one / other for one, other in zip(imported, bare, strict=True))
    sys.stdout.write(
        f"{name}: import {statistics.median(imported):.0f} rows/s, bare INSERT "
        f"{statistics.median(bare):.0f} rows/s, ratio {ratio:.2f}; "
        f"the same file again {again:.0f} rows/s\n"
    )


def main() -> None:
    """Measure each database in turn."""
    given = os.environ.get("PRODUCT_SEARCH_TEST_DATABASE_URL")
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        for name, url in (("SQLite", f"sqlite:///{folder / 'rows.sqlite3'}"), ("server", given)):
            if url is None:
                continue
            database = Database(url)
            there = MetaData()
            there.reflect(database.engine)
            there.drop_all(database.engine)
            migrate(database)
            _measure(name, database, folder)
            database.close()


if __name__ == "__main__":
    main()
