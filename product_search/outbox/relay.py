"""The way of outbox events through Kafka: published by the service, consumed by who indexes.

The outbox stays the truth. A message says that a product can be claimed; whoever consumes it
claims the product, so that messages which come twice, late, out of order or not at all do no harm.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from orm_models import Database, OutboxEvent
from product_search.database.clock import Clock, database_clock
from product_search.database.transactions import read_committed
from product_search.errors import KafkaUnavailable
from product_search.outbox import events as outbox
from product_search.outbox.kafka import IndexEvent, Publisher

MAX_PUBLISHED = 500  # at once
# The events of a relay that died before it saved what Kafka had acknowledged wait this long.
PUBLISHING = timedelta(seconds=30)


@dataclass(frozen=True)
class _Taken:
    """Events that one relay publishes; nobody else does before `until`."""

    until: datetime
    events: Sequence[IndexEvent]


@dataclass(frozen=True)
class Relay:
    """Publishes of each product the oldest event, and again where nothing came of it for long.

    Any number of relays share one outbox. A claim that ends without success, and a pause after a
    failure, bring the event back at their end; everything else after `republish`.
    """

    database: Database
    publisher: Publisher
    republish: timedelta
    clock: Clock = database_clock

    def publish_due(self) -> int:
        """Publish what is to be published now, up to MAX_PUBLISHED; how many events.

        Raises:
            KafkaUnavailable: Kafka has not acknowledged all of them.
            DatabaseUnavailable: the database does not answer.
        """
        if not self.database.read(lambda session: _waiting(session, self.clock(session), 1)):
            return 0
        taken = self.database.write(self._take)
        if not taken.events:  # another relay was faster
            return 0
        delivered = self.publisher.publish(taken.events)
        self.database.write(self._save, taken, delivered)
        if missing := len(taken.events) - len(delivered):
            raise KafkaUnavailable(f"{missing} of {len(taken.events)} events are not acknowledged")
        return len(delivered)

    def _take(self, session: Session) -> _Taken:
        read_committed(session)
        now = self.clock(session)
        until = now + PUBLISHING
        waiting = _waiting(session, now, MAX_PUBLISHED)
        chosen = _postpone(session, waiting, _is_waiting(now), until)
        rows = select(OutboxEvent).where(OutboxEvent.id.in_(chosen)).order_by(OutboxEvent.id)
        return _Taken(until, [_message(event) for event in session.scalars(rows)])

    def _save(self, session: Session, taken: _Taken, delivered: Collection[IndexEvent]) -> None:
        """What was claimed meanwhile goes by its claim."""
        read_committed(session)
        ours = OutboxEvent.publish_after == taken.until
        later = self.clock(session) + self.republish
        done = {event.event_id for event in delivered}
        _postpone(session, done, ours, later)
        _postpone(session, {event.event_id for event in taken.events} - done, ours, None)


def _is_waiting(now: datetime) -> ColumnElement[bool]:
    return or_(OutboxEvent.publish_after.is_(None), OutboxEvent.publish_after <= now)


def _waiting(session: Session, now: datetime, limit: int) -> list[int]:
    """Events to publish, by id: two walks along the index, for one would read all that wait."""
    first = select(OutboxEvent.id).where(outbox.is_oldest()).limit(limit)
    after = OutboxEvent.publish_after
    never = first.where(after.is_(None)).order_by(OutboxEvent.id)
    again = first.where(after <= now).order_by(after, OutboxEvent.id)
    return [*session.scalars(never), *session.scalars(again)]


def _postpone(
    session: Session,
    event_ids: Collection[int],
    condition: ColumnElement[bool],
    until: datetime | None,
) -> Sequence[int]:
    """Of these events those that meet the condition, and that nobody has locked: their ids."""
    if not event_ids:
        return []
    free = select(OutboxEvent.id).where(OutboxEvent.id.in_(event_ids), condition)
    chosen = session.scalars(free.with_for_update(skip_locked=True)).all()
    changed = update(OutboxEvent).where(OutboxEvent.id.in_(chosen))
    session.execute(changed.values(publish_after=until))
    return chosen


def _message(event: OutboxEvent) -> IndexEvent:
    return IndexEvent.model_validate(
        {
            "event_id": event.id,
            "product_id": event.product_id,
            "milvus_id": event.milvus_id,
            "operation": event.operation,
            "revision": event.revision,
        }
    )
