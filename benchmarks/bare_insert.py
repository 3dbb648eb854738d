"""What a write is measured against: FastAPI and one INSERT, committed, by PyMySQL or sqlite3.

`uvicorn benchmarks.bare_insert:app` with BARE_INSERT_URL, a SQLAlchemy URL. It writes the service's
own row into the service's own table, as durably, and nothing else: no outbox, no ORM, no pool,
no images, no backpressure, no error table.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pymysql
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import make_url

GIVEN = ("title", "sku", "description", "category", "brand", "price", "attributes")
DRAWN = ("milvus_id", "revision", "index_status", "created_at", "updated_at")
_URL = make_url(os.environ["BARE_INSERT_URL"])
_ON_SQLITE = _URL.get_backend_name() == "sqlite"
_MARKS = ", ".join(["?" if _ON_SQLITE else "%s"] * len(GIVEN + DRAWN))
_INSERT = f"INSERT INTO product ({', '.join(GIVEN + DRAWN)}) VALUES ({_MARKS})"


class Product(BaseModel):
    """A request body."""

    title: str
    sku: str | None = None
    description: str | None = None
    category: str | None = None
    brand: str | None = None
    price: Decimal | None = None
    attributes: dict[str, Any] = {}


def _connect() -> Any:
    if not _ON_SQLITE:
        return pymysql.connect(
            host=_URL.host,
            port=_URL.port or 3306,
            user=_URL.username,
            password=_URL.password or "",
            database=_URL.database,
            charset="utf8mb4",
        )
    connection = sqlite3.connect(str(_URL.database), timeout=10)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


_of_thread = threading.local()
app = FastAPI()


@app.post("/product", status_code=201)
def create(product: Product) -> dict[str, int]:
    """Insert one row in one commit, on this thread's connection."""
    if not hasattr(_of_thread, "connection"):
        _of_thread.connection = _connect()
    values = product.model_dump(mode="json") | {"attributes": json.dumps(product.attributes)}
    now = str(datetime.now(UTC).replace(tzinfo=None))
    drawn = [secrets.randbits(62), 1, "pending", now, now]
    cursor = _of_thread.connection.cursor()
    cursor.execute(_INSERT, [values[column] for column in GIVEN] + drawn)
    _of_thread.connection.commit()
    return {"product_id": cursor.lastrowid}
