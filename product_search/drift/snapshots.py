"""What the relational store says of products that are checked for drift."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from orm_models import Product
from product_search.database.transactions import read_committed
from product_search.milvus.entities import EntityState
from product_search.outbox.counts import find_pending_products


class ProductState(NamedTuple):
    """The columns of a product by which the stores agree on it or not."""

    milvus_id: int
    product_id: int
    revision: int
    index_status: str
    image_hash: str | None


_COLUMNS = (
    Product.milvus_id,
    Product.id,
    Product.revision,
    Product.index_status,
    Product.image_hash,
)


@dataclass(frozen=True)
class Snapshot:
    """Products and waiting events at one instant.

    Attributes:
        rows: the products by milvus_id.
        waiting: ids of the products that have outbox events.
    """

    rows: Mapping[int, ProductState]
    waiting: Collection[int]

    def waits(self, key: int, entity: EntityState | None) -> bool:
        """Return whether an event waits for the key's product, or for its entity without one."""
        row = self.rows.get(key)
        if row is not None:
            return row.product_id in self.waiting
        return -key in self.waiting or (entity is not None and entity.product_id in self.waiting)


def fetch_states_after(session: Session, after: int, limit: int) -> dict[int, ProductState]:
    """Return up to `limit` products with a milvus_id above `after`, by milvus_id."""
    rows = (
        select(*_COLUMNS).where(Product.milvus_id > after).order_by(Product.milvus_id).limit(limit)
    )
    return {row.milvus_id: ProductState(*row) for row in session.execute(rows)}


def fetch_snapshot(session: Session, suspects: Mapping[int, Collection[int]]) -> Snapshot:
    """Return the products and events of the suspects.

    These are milvus_ids, each with the ids of the products that its row and its entity named when
    they were found: of a product that is deleted since, nothing else tells that its events wait.
    """
    if not suspects:
        return Snapshot({}, ())
    found = session.execute(select(*_COLUMNS).where(Product.milvus_id.in_(suspects)))
    rows = {row.milvus_id: ProductState(*row) for row in found}
    ids = {row.product_id for row in rows.values()} | {-key for key in suspects}
    ids |= {product_id for named in suspects.values() for product_id in named}
    return Snapshot(rows, find_pending_products(session, ids))


def lock_free(session: Session, rows: Iterable[ProductState]) -> set[int]:
    """Lock those of the rows that nobody has locked; return their milvus_ids."""
    read_committed(session)
    ids = [row.product_id for row in rows]
    free = select(Product.milvus_id).where(Product.id.in_(ids)).order_by(Product.id)
    return set(session.scalars(free.with_for_update(skip_locked=True)))
