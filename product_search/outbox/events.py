"""Outbox events: index work recorded in the transaction of its write, and claimed by workers.

A product is claimed as a whole, by its oldest event: that one row bears the claim's token, the end
of its lease, the failures so far and the end of the pause after the last one. Whoever changes a
product's events holds the product's row first, so that writers and workers never wait in a circle.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import (
    ColumnElement,
    Select,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session, aliased

from data_models import IndexStatus
from orm_models import OutboxEvent, Product
from product_search.database.clock import Clock, database_clock
from product_search.database.column_types import UtcDateTime
from product_search.database.transactions import read_committed

_LONGEST_PAUSE = timedelta(hours=1)
_INSERT = insert(OutboxEvent)
_DELETE = delete(OutboxEvent).where(OutboxEvent.id == bindparam("event"))


class Operation(StrEnum):
    """What the write did; the indexer goes by the row that it then finds."""

    upsert = "upsert"
    delete = "delete"
    fill = "fill"  # no change: a collection that is being filled lacks the product
    rebuild = "rebuild"  # no change: the active collection is new and lacks the product


@dataclass(frozen=True)
class ClaimPolicy:
    """How long a claim lasts, and how a product that can't be indexed is tried again."""

    lease: timedelta = timedelta(seconds=60)
    max_attempts: int = 5
    first_pause: timedelta = timedelta(seconds=2)

    def pause(self, attempts: int) -> timedelta:
        """Return the pause after so many failures, each time twice as long."""
        return min(self.first_pause * (1 << min(attempts - 1, 30)), _LONGEST_PAUSE)


@dataclass(frozen=True)
class ClaimItem:
    """A claimed product: its events from the first to the last that the claim covers."""

    product_id: int
    milvus_id: int
    first_event: int
    last_event: int
    attempts: int
    only_fill: bool = False  # no event tells of a change


@dataclass(frozen=True)
class Claim:
    """Products that one worker holds until its lease ends; empty where nothing was due."""

    token: str
    items: Sequence[ClaimItem]


def record(session: Session, product: Product, operation: Operation) -> None:
    """Add an event to the session's transaction; the product has its id, and its row is locked."""
    if product.revision > 1 or operation is Operation.delete:
        _end_pause(session, product.id)
    event = {
        "product_id": product.id,
        "milvus_id": product.milvus_id,
        "operation": operation,
        "revision": product.revision,
    }
    session.connection().execute(_INSERT, event)


def _end_pause(session: Session, product_id: int) -> None:
    """Let the product be tried at once and from the first attempt: a change may have mended it."""
    paused = select(OutboxEvent.id).where(
        OutboxEvent.product_id == product_id,
        OutboxEvent.claim_token.is_(None),
        OutboxEvent.available_at.is_not(None),
    )
    for event_id in session.scalars(paused).all():  # by key: a search would lock neighbours
        session.execute(
            update(OutboxEvent)
            .where(OutboxEvent.id == event_id, OutboxEvent.claim_token.is_(None))
            .values(available_at=None, attempts=0, publish_after=None)
        )


def record_rebuild(session: Session) -> None:
    """Record an event for every product, for an active collection that is still empty."""
    _record_all(session, Operation.rebuild)


def record_renewal(session: Session) -> None:
    """Record an event for every product, for collections that have each of them, but outdated."""
    _record_all(session, Operation.upsert)


def _record_all(session: Session, operation: Operation) -> None:
    # Events of deleted products stay: other collections than the new one may still hold them.
    session.execute(delete(OutboxEvent).where(OutboxEvent.product_id.in_(select(Product.id))))
    session.execute(update(Product).values(index_status=IndexStatus.pending, index_error=None))
    _record_each(session, operation)


def record_new(session: Session, milvus_ids: Collection[int]) -> None:
    """Record an event for each product that this transaction has added, in one statement."""
    _record_each(session, Operation.upsert, Product.milvus_id.in_(milvus_ids))


def _record_each(session: Session, operation: Operation, *conditions: ColumnElement[bool]) -> None:
    why, now = literal(str(operation)), literal(datetime.now(UTC), UtcDateTime)
    every = select(Product.id, Product.milvus_id, why, Product.revision, literal(0), now)
    columns = ["product_id", "milvus_id", "operation", "revision", "attempts", "created_at"]
    chosen = every.where(*conditions).order_by(Product.id)
    session.execute(insert(OutboxEvent).from_select(columns, chosen))


def record_fill(session: Session, after: int, limit: int) -> list[int]:
    """Record events that fill a collection with the next products by id; return their ids.

    Paused products are tried at once, so that none holds up the end of the filling.
    """
    read_committed(session)
    some = select(Product).where(Product.id > after).order_by(Product.id).limit(limit)
    products = session.scalars(some.with_for_update()).all()
    for product in products:
        _end_pause(session, product.id)
        session.add(
            OutboxEvent(
                product_id=product.id,
                milvus_id=product.milvus_id,
                operation=Operation.fill,
                revision=product.revision,
            )
        )
    return [product.id for product in products]


def is_due(
    session: Session, clock: Clock = database_clock, among: Collection[int] | None = None
) -> bool:
    """Return whether a claim would find anything; this takes no lock."""
    due = select(OutboxEvent.id).where(_due(clock(session)), _claimable(session, among))
    return session.scalars(due.order_by(OutboxEvent.id).limit(1)).first() is not None


def claim(
    session: Session,
    limit: int,
    lease: timedelta,
    clock: Clock = database_clock,
    among: Collection[int] | None = None,
) -> Claim:
    """Claim up to `limit` products whose events have waited longest, of those `among` if given.

    Two workers never get the same product: SKIP LOCKED leaves each the rows that the other has not
    locked; without it the UPDATE, atomic in itself, decides.
    """
    read_committed(session)
    now, token = clock(session), secrets.token_hex(16)
    due = _due(now)
    free = select(OutboxEvent.id).where(due, _claimable(session, among))
    oldest = free.order_by(OutboxEvent.id).limit(limit)
    chosen = session.scalars(oldest.with_for_update(skip_locked=True)).all()
    if not chosen:
        return Claim(token, [])
    session.execute(
        update(OutboxEvent)
        .where(OutboxEvent.id.in_(chosen), due)
        .values(claim_token=token, available_at=now + lease, publish_after=now + lease)
    )
    return Claim(token, _items(session, chosen, token))


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
        .group_by(first.id, first.product_id, first.milvus_id, first.attempts)
        .order_by(first.id)
    )
    return [ClaimItem(*row[:-1], only_fill=bool(row[-1])) for row in session.execute(every)]


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
            postponed = {"claim_token": None, "available_at": again, "publish_after": again}
            session.execute(first.values(attempts=failures, **postponed))


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
            )
        )


def retry(session: Session, given_up: Select[Product]) -> list[int]:
    """Record that the products are to be indexed again; return their ids."""
    products = session.scalars(given_up.with_for_update()).all()
    for product in products:
        product.index_status = IndexStatus.pending
        product.index_error = None
        record(session, product, Operation.upsert)
    return [product.id for product in products]


def record_orphans(session: Session, milvus_ids: Iterable[int]) -> None:
    """Record the deletion of entities that have no product.

    The event's product_id is minus the key: the entity's may be another product's by now.
    """
    session.add_all(
        OutboxEvent(product_id=-key, milvus_id=key, operation=Operation.delete, revision=0)
        for key in milvus_ids
    )


def _due(now: datetime) -> ColumnElement[bool]:
    return or_(OutboxEvent.available_at.is_(None), OutboxEvent.available_at <= now)


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
