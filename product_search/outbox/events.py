"""Outbox events: index work recorded in the transaction of its write, and claimed by workers.

A product is claimed as a whole, by its oldest event: that one row bears the claim's token, the end
of its lease, the failures so far and the end of the pause after the last one. Whoever changes a
product's events holds the product's row first, so that writers and workers never wait in a circle.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

from sqlalchemy import (
    ColumnElement,
    Select,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session, aliased

from data_models import IndexStatus
from orm_models import OutboxEvent, Product
from product_search.context import current_request_id
from product_search.database.clock import Clock, database_clock
from product_search.database.transactions import read_committed

LONGEST = timedelta(hours=1)  # of pauses, and of leases that can be set
# Longer than a transaction waits for others, after it has asked for the time.
LOCK_WAIT = timedelta(minutes=2)
_BACKGROUND_SHARE = 8  # while people always wait, one product in so many is of the background
_INSERT = insert(OutboxEvent)
_DELETE = delete(OutboxEvent).where(OutboxEvent.id == bindparam("event"))


class Operation(StrEnum):
    """What the write did; the indexer goes by the row that it then finds."""

    upsert = "upsert"
    delete = "delete"
    fill = "fill"  # no change: a collection that is being filled lacks the product
    rebuild = "rebuild"  # no change: the active collection is new and lacks the product


class Priority(IntEnum):
    """Who waits for it: the lower comes first."""

    person = 0  # somebody has written it, and looks for it
    background = 1  # an import, a new collection or a repair, of which nobody waits for one product


@dataclass(frozen=True)
class ClaimPolicy:
    """How long a claim lasts, and how a product that can't be indexed is tried again."""

    lease: timedelta = timedelta(seconds=60)
    max_attempts: int = 5
    first_pause: timedelta = timedelta(seconds=2)

    def pause(self, attempts: int) -> timedelta:
        """Return the pause after so many failures, each time twice as long."""
        return min(self.first_pause * (1 << min(attempts - 1, 30)), LONGEST)

    @property
    def longest(self) -> timedelta:
        """The longest that a claim which is not renewed, or a pause, can last."""
        return max(self.lease, self.pause(self.max_attempts))


@dataclass(frozen=True)
class ClaimItem:
    """A claimed product: its events from the first to the last that the claim covers."""

    product_id: int
    milvus_id: int
    first_event: int
    last_event: int
    attempts: int
    only_fill: bool = False  # no event tells of a change
    request_id: str | None = None  # in which the last event was written: the row is as that left it


@dataclass(frozen=True)
class Claim:
    """Products that one worker holds until its lease ends; empty where nothing was due."""

    token: str
    items: Sequence[ClaimItem]


def record(
    session: Session,
    product: Product,
    operation: Operation,
    priority: Priority = Priority.person,
) -> None:
    """Add an event to the session's transaction; the product has its id, and its row is locked."""
    if product.revision > 1 or operation is Operation.delete:
        bring_forward(session, product.id, priority)
    event = {
        "product_id": product.id,
        "milvus_id": product.milvus_id,
        "operation": operation,
        "revision": product.revision,
        "priority": priority.value,
        "request_id": current_request_id.get(),
    }
    session.connection().execute(_INSERT, event)


def bring_forward(session: Session, product_id: int, priority: Priority) -> None:
    """Let what waits of the product, whose row is locked, come as early as what is recorded next.

    It is claimed by its oldest event, which so has the priority of the most urgent. A pause after
    a failure ends, and the attempts begin anew: the change may have mended it.
    """
    is_paused = OutboxEvent.claim_token.is_(None) & OutboxEvent.available_at.is_not(None)
    is_later = OutboxEvent.priority > priority.value
    theirs = select(OutboxEvent.id, is_paused, is_later).where(
        OutboxEvent.product_id == product_id, is_paused | is_later
    )
    for event_id, paused, later in session.execute(theirs).all():
        one = update(OutboxEvent).where(OutboxEvent.id == event_id)  # a search locks neighbours
        if paused:
            unclaimed = one.where(OutboxEvent.claim_token.is_(None))
            session.execute(unclaimed.values(available_at=None, attempts=0, publish_after=None))
        if later:
            session.execute(one.values(priority=priority.value))


def is_due(
    session: Session,
    policy: ClaimPolicy,
    clock: Clock = database_clock,
    among: Collection[int] | None = None,
) -> bool:
    """Return whether a claim would find anything; this takes no lock."""
    due = select(OutboxEvent.id).where(_due(clock(session), policy), _claimable(session, among))
    return session.scalars(due.order_by(OutboxEvent.id).limit(1)).first() is not None


def find_urgent(
    session: Session, limit: int, policy: ClaimPolicy, clock: Clock = database_clock
) -> Sequence[int]:
    """Return products, up to the limit, that people have written and that are due; no lock."""
    urgent = _oldest(_due(clock(session), policy), Priority.person, limit)
    return session.scalars(urgent.with_only_columns(OutboxEvent.product_id)).all()


def claim(
    session: Session,
    limit: int,
    policy: ClaimPolicy,
    clock: Clock = database_clock,
    among: Collection[int] | None = None,
) -> Claim:
    """Claim up to `limit` products, of those `among` if given.

    What people have written comes first, then what has waited longest; while people write more
    than is indexed, a share of each claim is left to what nobody waits for.

    Two workers never get the same product: SKIP LOCKED leaves each the rows that the other has not
    locked; without it the UPDATE, atomic in itself, decides.
    """
    read_committed(session)
    now, token = clock(session), secrets.token_hex(16)
    until, due = now + policy.lease, _due(now, policy)
    if among is None:
        chosen = _choose(session, due, limit)
    else:
        named = select(OutboxEvent.id).where(due, _claimable(session, among))
        chosen = _lock(session, named.order_by(OutboxEvent.id).limit(limit))
    if not chosen:
        return Claim(token, [])
    session.execute(
        update(OutboxEvent)
        .where(OutboxEvent.id.in_(chosen), due)
        .values(claim_token=token, available_at=until, publish_after=until)
    )
    return Claim(token, _items(session, chosen, token))


def _choose(session: Session, due: ColumnElement[bool], limit: int) -> Sequence[int]:
    """Lock and return the events to claim, the urgent ones first."""
    urgent = _lock(session, _oldest(due, Priority.person, limit))
    share = min(max(1, limit // _BACKGROUND_SHARE), limit - 1)
    room = max(limit - len(urgent), share)
    others = _lock(session, _oldest(due, Priority.background, room)) if room else []
    return [*urgent[: limit - len(others)], *others]


def _oldest(due: ColumnElement[bool], priority: Priority, limit: int) -> Select[int]:
    """Return the query of the oldest claimable events of one priority, which an index has in order.

    One query of both would have to sort all that wait.
    """
    free = select(OutboxEvent.id).where(OutboxEvent.priority == priority.value, due, is_oldest())
    return free.order_by(OutboxEvent.id).limit(limit)


def _lock(session: Session, free: Select[int]) -> Sequence[int]:
    return session.scalars(free.with_for_update(skip_locked=True)).all()


def _items(session: Session, chosen: Sequence[int], token: str) -> list[ClaimItem]:
    first = aliased(OutboxEvent)
    every = (
        select(
            first.product_id,
            first.milvus_id,
            first.id,
            func.max(OutboxEvent.id),
            first.attempts,
            func.min(case((OutboxEvent.operation == Operation.fill, 1), else_=0)) == 1,
        )
        .join(OutboxEvent, OutboxEvent.product_id == first.product_id)
        .where(first.id.in_(chosen), first.claim_token == token)
        .group_by(first.id, first.product_id, first.milvus_id, first.attempts, first.priority)
        .order_by(first.priority, first.id)
    )
    rows = session.execute(every).all()
    last = select(OutboxEvent.id, OutboxEvent.request_id).where(
        OutboxEvent.id.in_([row[3] for row in rows])
    )
    asked = {row.id: row.request_id for row in session.execute(last)}
    return [
        ClaimItem(*row[:-1], only_fill=bool(row[-1]), request_id=asked.get(row[3])) for row in rows
    ]


def renew(
    session: Session, claim: Claim, lease: timedelta, clock: Clock = database_clock
) -> set[int]:
    """Renew the lease of what the claim still holds; return those product ids."""
    read_committed(session)
    ours = _held_by(claim, claim.items)
    until = clock(session) + lease
    session.execute(
        update(OutboxEvent).where(*ours).values(available_at=until, publish_after=until)
    )
    return set(session.scalars(select(OutboxEvent.product_id).where(*ours)))


def release(session: Session, claim: Claim) -> None:
    """Release what the claim still holds, as if it had not been claimed."""
    read_committed(session)
    session.execute(
        update(OutboxEvent)
        .where(*_held_by(claim, claim.items))
        .values(claim_token=None, available_at=None)
    )


def release_all(session: Session) -> None:
    """Release every claim: for the start of a process that alone may index."""
    session.execute(
        update(OutboxEvent)
        .where(OutboxEvent.claim_token.is_not(None))
        .values(claim_token=None, available_at=None)
    )


def end_pauses(session: Session) -> None:
    """End every pause and claim: the clock by which they end was set back.

    This is for a process that alone may index, and holds no claim.
    """
    session.execute(
        update(OutboxEvent)
        .where(OutboxEvent.available_at.is_not(None))
        .values(claim_token=None, available_at=None, publish_after=None)
    )


def lock_held(session: Session, claim: Claim, items: Collection[ClaimItem]) -> set[int]:
    """Lock the rows of the items' products; return the ids that the claim still holds.

    Until the transaction ends, no write changes them and no other worker claims them.
    """
    read_committed(session)
    rows = select(Product.id).where(Product.id.in_([item.product_id for item in items]))
    session.scalars(rows.order_by(Product.id).with_for_update()).all()
    ours = _held_by(claim, items)
    # An UPDATE that changes nothing: unlike a locking SELECT it waits for none but its own rows.
    session.execute(update(OutboxEvent).where(*ours).values(claim_token=claim.token))
    return set(session.scalars(select(OutboxEvent.product_id).where(*ours)))


def mark_done(session: Session, items: Iterable[ClaimItem]) -> None:
    """Delete the events that the items cover, whose rows are locked; later events stay."""
    _delete_between(session, {item.product_id: (0, item.last_event) for item in items})


def _delete_between(session: Session, spans: Mapping[int, tuple[int, int]]) -> None:
    """Delete each product's events with ids above the first and up to the second bound."""
    theirs = select(OutboxEvent.id, OutboxEvent.product_id).where(OutboxEvent.product_id.in_(spans))
    seen = [
        {"event": event_id}
        for event_id, product_id in session.execute(theirs)
        if spans[product_id][0] < event_id <= spans[product_id][1]
    ]
    if seen:  # each by its key: a search, and a long list of keys too, would lock others' rows
        session.connection().execute(_DELETE, seen)


def mark_failed(
    session: Session,
    reasons: Mapping[ClaimItem, str],
    policy: ClaimPolicy,
    clock: Clock = database_clock,
) -> None:
    """Postpone products that could not be indexed, or give them up; their rows are locked.

    A product that was changed meanwhile is tried again at once, as it is now.
    """
    now = clock(session)
    for item, reason in reasons.items():
        failures = item.attempts + 1
        if _has_newer(session, item):
            mark_done(session, [item])
        elif failures >= policy.max_attempts:
            mark_done(session, [item])
            given_up = {"index_status": IndexStatus.failed, "index_error": reason}
            session.execute(update(Product).where(Product.id == item.product_id).values(given_up))
        else:
            # The first event stands for the others from now on.
            _delete_between(session, {item.product_id: (item.first_event, item.last_event)})
            again = now + policy.pause(failures)
            first = update(OutboxEvent).where(OutboxEvent.id == item.first_event)
            paused = {"available_at": again, "publish_after": again}
            counted = {"attempts": failures, "request_id": item.request_id}
            session.execute(first.values(claim_token=None, **paused, **counted))


def enqueue_again(session: Session, items: Iterable[ClaimItem]) -> None:
    """Record that the items' products are to be indexed anew; their rows are locked."""
    for item in items:
        product = session.get(Product, item.product_id)
        if product is not None:
            product.index_status = IndexStatus.pending
        session.add(
            OutboxEvent(
                product_id=item.product_id,
                milvus_id=item.milvus_id,
                operation=Operation.upsert,
                revision=product.revision if product is not None else 0,
                priority=Priority.person.value,  # Milvus may have it wrong until then
                request_id=item.request_id,
            )
        )


def _due(now: datetime, policy: ClaimPolicy) -> ColumnElement[bool]:
    """Return the condition of events that no claim and no pause holds up.

    What ends much later than any can was begun by a clock that has been set back since.
    """
    until = OutboxEvent.available_at
    return or_(until.is_(None), until <= now, until > now + policy.longest + LOCK_WAIT)


def _claimable(session: Session, among: Collection[int] | None) -> ColumnElement[bool]:
    """Return the condition of claimable events.

    It goes by key where the products are known: a search would lock neighbours.
    """
    if among is None:
        return is_oldest()
    of_each = select(func.min(OutboxEvent.id)).where(OutboxEvent.product_id.in_(among))
    firsts = session.scalars(of_each.group_by(OutboxEvent.product_id)).all()
    return OutboxEvent.id.in_(firsts)


def is_oldest() -> ColumnElement[bool]:
    """Return the condition that the event is its product's oldest, by which it is claimed."""
    older = aliased(OutboxEvent)
    same = (older.product_id == OutboxEvent.product_id) & (older.id < OutboxEvent.id)
    return ~select(older.id).where(same).exists()


def _has_newer(session: Session, item: ClaimItem) -> bool:
    newer = select(OutboxEvent.id).where(
        OutboxEvent.product_id == item.product_id, OutboxEvent.id > item.last_event
    )
    return session.scalars(newer.limit(1)).first() is not None


def _held_by(
    claim: Claim, items: Iterable[ClaimItem]
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    firsts = [item.first_event for item in items]
    return OutboxEvent.id.in_(firsts), OutboxEvent.claim_token == claim.token
