"""Bytes of a product in the relational store, and of a waiting outbox event, indexes included.

python -m benchmarks.row_size

On PRODUCT_SEARCH_TEST_DATABASE_URL, an empty database of a MySQL or MariaDB server: rows are
inserted, the tables rebuilt, and the server asked for their size.
"""

from __future__ import annotations

import os
import secrets
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Table, insert, text
from sqlalchemy.engine import Connection

from benchmarks.databases import empty_database
from orm_models import Database, OutboxEvent, Product
from product_search.database.primary_keys import draw_primary_key

ROWS = 100_000
BATCH = 5_000


def _product(number: int) -> dict[str, Any]:
    """Return a product as shops have them: a title of 30 characters, a description of 60."""
    now = datetime.now(UTC)
    return {
        "milvus_id": draw_primary_key(),
        "sku": f"S-{number:010}",
        "title": f"夏季新款 {number:07} 大容量双肩包 学生通勤 防泼水 灰色",
        "description": "防泼水面料，可放 15.6 英寸笔记本电脑，三年质保。" * 2,
        "category": f"箱包/双肩包/{number % 200}",
        "brand": f"品牌{number % 1000}",
        "price": Decimal(number % 100_000) / 100,
        "attributes": {"颜色": "灰", "容量": f"{number % 40}L", "材质": "尼龙"},
        "image_hash": secrets.token_hex(32),
        "image_phash": secrets.token_bytes(288),
        "title_key": secrets.token_hex(16),
        "revision": 1,
        "index_status": "indexed",
        "created_at": now,
        "updated_at": now,
    }


def _event(number: int) -> dict[str, Any]:
    return {
        "product_id": number + 1,
        "milvus_id": draw_primary_key(),
        "operation": "upsert",
        "revision": 1,
        "attempts": 0,
        "created_at": datetime.now(UTC),
    }


def _size(connection: Connection, table: str) -> tuple[float, float]:
    """Return bytes a row of the table's rows and of its indexes."""
    connection.execute(text(f"OPTIMIZE TABLE {table}"))
    connection.execute(text(f"ANALYZE TABLE {table}"))
    sizes = text(
        "SELECT data_length, index_length FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_name = :table"
    )
    rows, indexes = connection.execute(sizes, {"table": table}).one()
    return rows / ROWS, indexes / ROWS


def _fill(database: Database, table: Table, make: Any) -> None:
    for start in range(0, ROWS, BATCH):
        with database.engine.begin() as connection:
            batch = [make(number) for number in range(start, start + BATCH)]
            connection.execute(insert(table), batch)


def main() -> None:
    """Fill both tables, and print what a row of each takes."""
    with empty_database(os.environ["PRODUCT_SEARCH_TEST_DATABASE_URL"]) as database:
        for kind, make in ((Product, _product), (OutboxEvent, _event)):
            table = kind.__table__
            assert isinstance(table, Table)
            _fill(database, table, make)
            with database.engine.begin() as connection:
                rows, indexes = _size(connection, table.name)
            sys.stdout.write(
                f"{table.name}: {rows:.0f} + {indexes:.0f} of indexes = {rows + indexes:.0f} B\n"
            )


if __name__ == "__main__":
    main()
