"""The relay: outbox events published to Kafka by the service, for whoever indexes to consume.

The outbox stays the truth. A message says that a product can be claimed; whoever consumes it
claims the product, so that messages which come twice, late, out of order or not at all do no harm.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from orm_models import Database, OutboxEvent
from product_search.database.clock import Clock, database_clock
from product_search.database.transactions import read_committed
from product_search.errors import KafkaUnavailable
from product_search.outbox.events import LONGEST, is_oldest
from product_search.outbox.kafka import IndexEvent, Publisher

MAX_PUBLISHED = 500  # at once
# The events of a relay that died before it saved what Kafka had acknowledged wait this long.
PUBLISHING = timedelta(seconds=30)


@dataclass(frozen=True)
class _Reservation:
    """Events that one relay publishes; no other relay does before `until`."""

    until: datetime
    events: Sequence[IndexEvent]


class _Window(NamedTuple):
    """The present, and the latest moment to which an event can have been postponed by now.

    What waits for a later one was postponed by a clock that has been set back since.
    """

    now: datetime
    latest: datetime


@dataclass(frozen=True)
class Relay:
    """Publishes the oldest event of each product, and again where it stays in the outbox for long.

    Any number of relays share one outbox. The end of a claim without success, or of a pause after a
    failure, makes an event due again; else it is due again after `republish`.
    """

    database: Database
    publisher: Publisher
    republish: timedelta
    clock: Clock = database_clock

    def publish_due(self) -> int:
        """Publish what is due, up to MAX_PUBLISHED events; return how many.

        Raises:
            KafkaUnavailable: Kafka has not acknowledged all of them.
            DatabaseUnavailable: the database does not answer.
        """
        if not self.database.read(self._due, 1):
            return 0
        reserved = self.database.write(self._reserve)
        if not reserved.events:  # another relay was faster
            return 0
        delivered = self.publisher.publish(reserved.events)
        self.database.write(self._save, reserved, delivered)
        if missing := len(reserved.events) - len(delivered):
            raise KafkaUnavailable(
                f"{missing} of {len(reserved.events)} events are not acknowledged"
            )
        return len(delivered)

    def _due(self, session: Session, limit: int) -> list[int]:
        return _waiting(session, self._window(session), limit)

    def _window(self, session: Session) -> _Window:
        now = self.clock(session)
        return _Window(now, now + self.republish + LONGEST)

    def _reserve(self, session: Session) -> _Reservation:
        read_committed(session)
        window = self._window(session)
        until = window.now + PUBLISHING
        waiting = _waiting(session, window, MAX_PUBLISHED)
        chosen = _postpone(session, waiting, _is_waiting(window), until)
        rows = select(OutboxEvent).where(OutboxEvent.id.in_(chosen)).order_by(OutboxEvent.id)
        return _Reservation(until, [_message(event) for event in session.scalars(rows)])

    def _save(
        self, session: Session, reserved: _Reservation, delivered: Collection[IndexEvent]
    ) -> None:
        """Postpone the delivered events and free the others; a claim made meanwhile stands."""
        read_committed(session)
        is_reserved = OutboxEvent.publish_after == reserved.until
        later = self.clock(session) + self.republish
        done = {event.event_id for event in delivered}
        _postpone(session, done, is_reserved, later)
        _postpone(session, {event.event_id for event in reserved.events} - done, is_reserved, None)


def _is_waiting(window: _Window) -> ColumnElement[bool]:
    after = OutboxEvent.publish_after
    return or_(after.is_(None), after <= window.now, after > window.latest)


def _waiting(session: Session, window: _Window, limit: int) -> list[int]:
    """Return the ids of due events, by reads along the index: one would read all that wait."""
    first = select(OutboxEvent.id).where(is_oldest()).limit(limit)
    after = OutboxEvent.publish_after
    never = first.where(after.is_(None)).order_by(OutboxEvent.id)
    again = first.where(after <= window.now).order_by(after, OutboxEvent.id)
    set_back = first.where(after > window.latest).order_by(after, OutboxEvent.id)
    return [id_ for found in (never, again, set_back) for id_ in session.scalars(found)]


def _postpone(
    session: Session,
    event_ids: Collection[int],
    condition: ColumnElement[bool],
    until: datetime | None,
) -> Sequence[int]:
    """Set `publish_after` of those events that meet the condition and are not locked."""
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
            "request_id": event.request_id,
        }
    )
