"""Drift for the tests of the pages, made behind the service's back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def make_stale(data_dir: Path, product_id: int) -> None:
    """The row goes on by a revision, and no index work is told of it."""
    with closing(sqlite3.connect(data_dir / "catalog.sqlite3", timeout=30)) as database, database:
        database.execute("UPDATE product SET revision = revision + 1 WHERE id = ?", [product_id])
