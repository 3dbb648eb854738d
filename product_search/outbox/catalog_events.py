"""Events of many products at once; but for a retry all are of the background."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Select, String, delete, insert, literal, select, update
from sqlalchemy.orm import Session

from data_models import IndexStatus
from orm_models import OutboxEvent, Product
from product_search.context import current_request_id
from product_search.database.column_types import UtcDateTime
from product_search.database.transactions import read_committed
from product_search.outbox.events import Operation, Priority, bring_forward, record

_KEYS = 500  # of one statement


def record_rebuild(session: Session) -> None:
    """Record an event for every product, for an active collection that is still empty."""
    _record_all(session, Operation.rebuild)


def record_renewal(session: Session) -> None:
    """Record an event for every product, for collections that have each of them, but outdated."""
    _record_all(session, Operation.upsert)


def record_lost(session: Session, product_ids: Collection[int]) -> None:
    """Record an event for each of these products that is indexed, which collections have lost."""
    lost = Product.id.in_(product_ids), Product.index_status == IndexStatus.indexed
    _record_each(session, Operation.rebuild, *lost)
    session.execute(update(Product).where(*lost).values(index_status=IndexStatus.pending))


def record_new(session: Session, milvus_ids: Collection[int]) -> None:
    """Record an event for each product that this transaction has added, in one statement."""
    _record_each(session, Operation.upsert, Product.milvus_id.in_(milvus_ids))


def record_fill(session: Session, after: int, limit: int) -> list[int]:
    """Record events that fill a collection with the next products by id; return their ids.

    Paused products are tried at once, so that none holds up the end of the filling.
    """
    read_committed(session)
    some = select(Product).where(Product.id > after).order_by(Product.id).limit(limit)
    products = session.scalars(some.with_for_update()).all()
    for product in products:
        bring_forward(session, product.id, Priority.background)
        session.add(
            OutboxEvent(
                product_id=product.id,
                milvus_id=product.milvus_id,
                operation=Operation.fill,
                revision=product.revision,
                priority=Priority.background.value,
                request_id=current_request_id.get(),
            )
        )
    return [product.id for product in products]


def record_orphans(session: Session, milvus_ids: Iterable[int]) -> None:
    """Record the deletion of entities that have no product.

    The event's product_id is minus the key: the entity's may be another product's by now.
    """
    session.add_all(
        OutboxEvent(
            product_id=-key,
            milvus_id=key,
            operation=Operation.delete,
            revision=0,
            priority=Priority.background.value,
            request_id=current_request_id.get(),
        )
        for key in milvus_ids
    )


def retry(session: Session, given_up: Select[Product], priority: Priority) -> list[int]:
    """Record that the products are to be indexed again; return their ids."""
    products = session.scalars(given_up.with_for_update()).all()
    for product in products:
        product.index_status = IndexStatus.pending
        product.index_error = None
        record(session, product, Operation.upsert, priority)
    return [product.id for product in products]


def _record_all(session: Session, operation: Operation) -> None:
    """Put one event of every product in the place of what waits; the urgent stay urgent."""
    is_urgent = OutboxEvent.priority == Priority.person.value
    urgent = session.scalars(select(OutboxEvent.product_id).where(is_urgent).distinct()).all()
    # Events of deleted products stay: other collections than the new one may still hold them.
    session.execute(delete(OutboxEvent).where(OutboxEvent.product_id.in_(select(Product.id))))
    session.execute(update(Product).values(index_status=IndexStatus.pending, index_error=None))
    _record_each(session, operation)
    for start in range(0, len(urgent), _KEYS):
        some = OutboxEvent.product_id.in_(urgent[start : start + _KEYS])
        session.execute(update(OutboxEvent).where(some).values(priority=Priority.person.value))


def _record_each(session: Session, operation: Operation, *conditions: ColumnElement[bool]) -> None:
    columns = {
        "product_id": Product.id,
        "milvus_id": Product.milvus_id,
        "operation": literal(str(operation)),
        "revision": Product.revision,
        "attempts": literal(0),
        "created_at": literal(datetime.now(UTC), UtcDateTime),
        "priority": literal(Priority.background.value),
        "request_id": literal(current_request_id.get(), String),
    }
    chosen = select(*columns.values()).where(*conditions).order_by(Product.id)
    session.execute(insert(OutboxEvent).from_select(list(columns), chosen))
