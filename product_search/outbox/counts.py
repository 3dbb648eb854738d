"""Counts of what waits in the outbox, read without a lock."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from data_models import INT64_MAX, IndexStatus, OutboxCounts
from orm_models import OutboxEvent, Product
from product_search.database.clock import database_clock
from product_search.outbox.events import Operation, Priority


def count_fills(session: Session, limit: int, *, unclaimed: bool = False) -> int:
    """Count products that wait for their first attempt at filling, up to the limit."""
    fills = select(OutboxEvent.id).where(
        OutboxEvent.operation == Operation.fill, OutboxEvent.attempts == 0
    )
    if unclaimed:
        fills = fills.where(OutboxEvent.claim_token.is_(None))
    return session.scalar(select(func.count()).select_from(fills.limit(limit).subquery())) or 0


def is_rebuilding(session: Session) -> bool:
    """Return whether the active collection is new and still lacks products."""
    lacking = select(OutboxEvent.id).where(OutboxEvent.operation == Operation.rebuild)
    return session.scalar(lacking.limit(1)) is not None


def find_pending_products(session: Session, product_ids: Collection[int]) -> set[int]:
    """Return those of the product ids that have events."""
    events = select(OutboxEvent.product_id).where(OutboxEvent.product_id.in_(product_ids))
    return set(session.scalars(events.distinct()))


def find_newest_id(session: Session) -> int:
    """Return the id of the newest event; 0 where none waits."""
    return session.scalar(select(func.max(OutboxEvent.id))) or 0


def count_pending(session: Session, up_to_id: int = INT64_MAX) -> int:
    """Count the events with an id up to `up_to_id`."""
    waiting = select(func.count()).select_from(OutboxEvent).where(OutboxEvent.id <= up_to_id)
    return session.scalar(waiting) or 0


def count_up_to(session: Session, up_to: int, priority: Priority = Priority.background) -> int:
    """Count the events as urgent as this or more, no further than `up_to`."""
    some = select(OutboxEvent.id)
    if priority is not Priority.background:  # else it is each of them
        some = some.where(OutboxEvent.priority <= priority.value)
    return session.scalar(select(func.count()).select_from(some.limit(up_to).subquery())) or 0


def fetch_counts(session: Session) -> OutboxCounts:
    """Count events that wait, products tried again after a failure, and products given up."""
    failed = select(func.count()).where(Product.index_status == IndexStatus.failed)
    retried = select(func.count()).where(OutboxEvent.attempts > 0)
    return OutboxCounts(
        pending=count_pending(session),
        retrying=session.scalar(retried) or 0,
        failed=session.scalar(failed) or 0,
    )


def fetch_oldest_age(session: Session) -> float:
    """Return for how many seconds the oldest event has waited, by the database's clock; 0: none."""
    oldest = session.scalar(select(OutboxEvent.created_at).order_by(OutboxEvent.id).limit(1))
    if oldest is None:
        return 0.0
    return max(0.0, (database_clock(session) - oldest).total_seconds())
