"""Events that come twice, late and out of order, and change nothing."""

from __future__ import annotations

from sqlalchemy import select

from orm_models import OutboxEvent, Product
from product_search.outbox.events import Operation
from tests.faults.places import Place
from tests.sessions import reading


def stray_events(place: Place) -> list[OutboxEvent]:
    """Of each product, of those that are long gone too: old revisions, and both operations."""
    with reading(place.database) as session:
        rows = session.execute(select(Product.id, Product.milvus_id, Product.revision)).all()
    gone = [(product_id, 77_000 + product_id, 1) for product_id in range(1, 20)]
    gone = [one for one in gone if one[0] not in {row[0] for row in rows}]
    return [
        OutboxEvent(product_id=one, milvus_id=key, operation=operation, revision=revision)
        for one, key, newest in [*rows, *gone]
        for operation in Operation
        for revision in (1, newest)
    ]
