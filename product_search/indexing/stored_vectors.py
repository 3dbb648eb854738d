"""Products page by page, and the vectors that the active collection holds of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Row, Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from orm_models import Database, Product
from product_search.indexing import collections
from product_search.indexing.collections import Role
from vector_db import EntityCollection, VectorDatabase

PAGE = 1000  # products that are read at once


class ActiveVectors(NamedTuple):
    """The collection that searches read, without its encoders."""

    name: str
    fingerprint: str  # of the encoders
    entities: EntityCollection


def open_active_vectors(
    database: Database, vector_database: VectorDatabase
) -> ActiveVectors | None:
    """Return the active collection; None before there is any. Raises VectorStoreUnavailable."""
    row = database.read(collections.fetch_live).get(Role.active)
    if row is None or not vector_database.has_collection(row.name):
        return None
    entities = vector_database.open_collection(row.name)
    return ActiveVectors(row.name, row.encoder_fingerprint, entities)


def iterate_products(
    database: Database,
    columns: Sequence[InstrumentedAttribute[Any]],
    *conditions: ColumnElement[bool],
    size: int = PAGE,
) -> Iterator[Sequence[Row[Any]]]:
    """Yield pages of the products that meet the conditions, by id.

    `columns` are read, and have to have Product.id among them.
    """
    last = 0
    while True:
        met = [*conditions, Product.id > last]
        some = select(*columns).where(*met).order_by(Product.id).limit(size)
        rows = database.read(_fetch_rows, some)
        if not rows:
            return
        yield rows
        last = rows[-1].id


def spread_evenly(count: int, wanted: int) -> NDArray[np.intp]:
    """Return at most `wanted` evenly spread indices below `count`, the first and last included."""
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(np.intp)


def _fetch_rows(session: Session, some: Select[Any]) -> Sequence[Row[Any]]:
    return session.execute(some).all()
