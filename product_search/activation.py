"""Which collections a process opens when it starts, and what it makes where they can't serve."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from sqlalchemy.orm import Session

from nlp_models import EncoderError, EncoderPair
from orm_models import VectorCollection
from product_search import live_collections, outbox, runs
from product_search.errors import StartError
from product_search.live_collections import CollectionMissing, LiveCollections, Role
from product_search.runs import Kind
from vector_db import collection_name

log = logging.getLogger(__name__)

_WAY_OUT = {
    Role.active: "manage reindex --rollback 换回上一个集合，没有上一个则 --give-up-active",
    Role.previous: "manage reindex --drop-old",
    Role.filling: "manage reindex --cancel",
}
DROP = {"drop": True}  # the options of a run that drops what is retired, and does nothing else


def activate(collections: LiveCollections, *, sole: bool) -> None:
    """Open the live collections, for a service; the very first one is made.

    An active collection that is gone is made anew, and every product is queued for it. The queue
    is committed before the collection is made, so that a crash between the two leaves a collection
    that is missing, and noticed, rather than one that stays empty.

    A collection whose encoders can't be loaded here is given up only by the `sole` process that can
    use it; the previous one then takes its place, or else a new one.

    Raises:
        EncoderError: there are no encoders to make it with.
        StartError: encoders can't be loaded here, and other processes may have them.
    """
    with collections.database.alone("collection"):  # of several services at their first start
        rows = collections.database.read(live_collections.live)
        if not _open_active(collections, rows.get(Role.active), sole=sole):
            _replace_active(collections, rows)
        _give_up_unusable(collections, sole=sole)
    collections.refresh()


def join(collections: LiveCollections) -> bool:
    """Open the live collections, for a worker; False where the service has not made them yet.

    Raises:
        StartError: encoders of a live collection can't be loaded here.
    """
    rows = collections.database.read(live_collections.live)
    if Role.active not in rows:
        return False
    return all(_opens(collections, row, sole=False) for row in rows.values())


def retire(session: Session, rows: Collection[VectorCollection]) -> int:
    """No longer write to these; a run drops them: its id."""
    for row in rows:
        live_collections.give_role(row, Role.retired)
    return runs.queue(session, Kind.reindex, DROP).id


def _refusal(row: VectorCollection, error: EncoderError) -> StartError:
    way_out = _WAY_OUT[Role(row.role)]
    return StartError(f"{row.role} 集合 {row.name}：{error}。权重确已不在时：{way_out}")


def _open_active(
    collections: LiveCollections, active: VectorCollection | None, *, sole: bool
) -> bool:
    """Whether the active collection can serve from now on."""
    if active is None:
        return False
    try:
        encoders = collections.encoders.find(active.encoder, active.encoder_fingerprint)
    except EncoderError as error:
        if not sole:
            raise _refusal(active, error) from error
        log.warning("the active collection %s can't be searched any more: %s", active.name, error)
        return False
    if collection_name(encoders.fingerprint) != active.name:
        log.warning("the active collection %s has the fields of another release", active.name)
        return False
    if not collections.store.has_collection(active.name):
        _queue_all(collections, encoders)
    elif active.encoder is None:
        _note(collections, encoders)
    collections.make(encoders)
    return True


def _replace_active(collections: LiveCollections, rows: Mapping[Role, VectorCollection]) -> None:
    """By the previous collection, which is kept in step, or else by a new one."""
    previous = rows.get(Role.previous)
    if Role.active in rows and previous is not None and _opens(collections, previous, sole=True):
        log.warning("searches go back to %s, the previous collection", previous.name)
        collections.database.write(_go_back)
    else:
        _start_afresh(collections)


def _go_back(session: Session) -> None:
    rows = live_collections.lock(session)
    retire(session, [rows[Role.active]])
    live_collections.give_role(rows[Role.previous], Role.active)


def _start_afresh(collections: LiveCollections) -> None:
    encoders = collections.encoders.chosen()
    # Left from another time: nobody kept it in step.
    collections.store.drop_collection(collection_name(encoders.fingerprint))
    _queue_all(collections, encoders)
    collections.make(encoders)


def _queue_all(collections: LiveCollections, encoders: EncoderPair) -> None:
    name = collection_name(encoders.fingerprint)
    log.info("collection %s is new: every product is queued for indexing", name)

    def queue(session: Session) -> None:
        rows = live_collections.lock(session)
        others = [row for row in rows.values() if row.name != name]
        if Role.active in rows and rows[Role.active].name != name:
            retire(session, others)
        live_collections.add(session, encoders, Role.active)
        outbox.record_all(session)

    collections.database.write(queue)


def _note(collections: LiveCollections, encoders: EncoderPair) -> None:
    def note(session: Session) -> None:
        live_collections.lock(session)[Role.active].encoder = encoders.name

    collections.database.write(note)


def _give_up_unusable(collections: LiveCollections, *, sole: bool) -> None:
    """What nobody can write to any more: else all writes would wait for it."""
    rows = collections.database.read(live_collections.live)
    lost = [row for row in rows.values() if not _opens(collections, row, sole=sole)]
    names = {row.name for row in lost}

    def give_up(session: Session) -> None:
        there = live_collections.lock(session)
        others = [row for role, row in there.items() if role is not Role.active]
        retire(session, [row for row in others if row.name in names])

    for row in lost:
        log.warning("the %s collection %s is given up", row.role, row.name)
    if names:
        collections.database.write(give_up)


def _opens(collections: LiveCollections, row: VectorCollection, *, sole: bool) -> bool:
    """Raises StartError where its encoders can't be loaded here, and another process may."""
    try:
        collections.open(row)
    except CollectionMissing as error:
        log.warning("%s", error)
        return False
    except EncoderError as error:
        if not sole:
            raise _refusal(row, error) from error
        log.warning("%s", error)
        return False
    return True
