"""What a write is measured against: FastAPI and one INSERT, committed, by PyMySQL or sqlite3.

`uvicorn benchmarks.bare_insert:app` with BARE_INSERT_URL, a SQLAlchemy URL. No outbox, no ORM, no
pool to check, no pictures, no backpressure, no error table; as durable as the service's commit.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from contextlib import closing
from decimal import Decimal
from typing import Any

import pymysql
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import make_url

COLUMNS = ("title", "sku", "description", "category", "brand", "price", "attributes")
TABLE = "bare_product"
_URL = make_url(os.environ["BARE_INSERT_URL"])
_ON_SQLITE = _URL.get_backend_name() == "sqlite"
_KEY = "INTEGER PRIMARY KEY" if _ON_SQLITE else "BIGINT AUTO_INCREMENT PRIMARY KEY"
_CREATE = f"""CREATE TABLE IF NOT EXISTS {TABLE} (id {_KEY}, title VARCHAR(500) NOT NULL,
    sku VARCHAR(100) UNIQUE, description TEXT, category VARCHAR(100), brand VARCHAR(100),
    price DECIMAL(12, 2), attributes JSON, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)"""
_MARKS = ", ".join(["?" if _ON_SQLITE else "%s"] * len(COLUMNS))
_INSERT = f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES ({_MARKS})"


class Product(BaseModel):
    """The request body."""

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


with closing(_connect()) as first:
    first.cursor().execute(_CREATE)
_of_thread = threading.local()
app = FastAPI()


@app.post("/product", status_code=201)
def create(product: Product) -> dict[str, int]:
    """One row, one commit, on the connection of this thread."""
    if not hasattr(_of_thread, "connection"):
        _of_thread.connection = _connect()
    values = product.model_dump(mode="json") | {"attributes": json.dumps(product.attributes)}
    cursor = _of_thread.connection.cursor()
    cursor.execute(_INSERT, [values[column] for column in COLUMNS])
    _of_thread.connection.commit()
    return {"product_id": cursor.lastrowid}
