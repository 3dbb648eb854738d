"""The outbox: index work recorded in the transaction of the write that caused it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import delete, func, insert, literal, select, update
from sqlalchemy.orm import Session

from data_models import INT64_MAX, IndexStatus, OutboxCounts
from orm_models import OutboxEvent, Product
from product_search.column_types import UtcDateTime


class Operation(StrEnum):
    """What the write did; the indexer goes by the row that it then finds."""

    upsert = "upsert"
    delete = "delete"


def record(session: Session, product: Product, operation: Operation) -> None:
    """Add the event to the session's transaction; the product has its id."""
    session.add(
        OutboxEvent(
            product_id=product.id,
            milvus_id=product.milvus_id,
            operation=operation,
            revision=product.revision,
        )
    )


def record_all(session: Session) -> None:
    """Queue every product anew, for a collection that is still empty."""
    session.execute(delete(OutboxEvent))
    session.execute(update(Product).values(index_status=IndexStatus.pending, index_error=None))
    operation, now = literal(str(Operation.upsert)), literal(datetime.now(UTC), UtcDateTime)
    every = select(Product.id, Product.milvus_id, operation, Product.revision, now)
    columns = ["product_id", "milvus_id", "operation", "revision", "created_at"]
    session.execute(insert(OutboxEvent).from_select(columns, every.order_by(Product.id)))


def oldest(session: Session, limit: int) -> Sequence[OutboxEvent]:
    """The events that have waited longest, in the order of their writes."""
    return session.scalars(select(OutboxEvent).order_by(OutboxEvent.id).limit(limit)).all()


def mark_done(session: Session, events: Sequence[OutboxEvent]) -> None:
    """Forget these events; newer ones of the same products stay."""
    session.execute(delete(OutboxEvent).where(OutboxEvent.id.in_([event.id for event in events])))


def newest_id(session: Session) -> int:
    """The id of the last event; 0 where none waits."""
    return session.scalar(select(func.max(OutboxEvent.id))) or 0


def pending(session: Session, up_to_id: int = INT64_MAX) -> int:
    """How many events wait, of those with an id up to this one."""
    waiting = select(func.count()).select_from(OutboxEvent).where(OutboxEvent.id <= up_to_id)
    return session.scalar(waiting) or 0


def counts(session: Session) -> OutboxCounts:
    """Events that wait, and products whose indexing was given up."""
    failed = select(func.count()).where(Product.index_status == IndexStatus.failed)
    return OutboxCounts(pending=pending(session), failed=session.scalar(failed) or 0)
