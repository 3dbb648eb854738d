"""Which collections a process opens when it starts, and what it makes where they can't serve."""

from __future__ import annotations

import logging
from collections.abc import Collection

from sqlalchemy.orm import Session

from nlp_models import EncoderError, EncoderPair
from orm_models import VectorCollection
from product_search import live_collections, outbox, runs
from product_search.errors import StartError
from product_search.live_collections import CollectionMissing, LiveCollections, Role
from product_search.runs import Kind
from vector_db import collection_name

log = logging.getLogger(__name__)

DROP = {"drop": True}  # the options of a run that drops what is retired, and does nothing else


def activate(collections: LiveCollections) -> None:
    """Open the live collections, for a service; the very first one is made.

    An active collection that is gone, or whose encoders are, is made anew, and every product is
    queued for it. The queue is committed before the collection is made, so that a crash between
    the two leaves a collection that is missing, and noticed, rather than one that stays empty.

    Raises:
        EncoderError: there are no encoders to make it with.
    """
    with collections.database.alone("collection"):  # of several services at their first start
        rows = collections.database.read(live_collections.live)
        if not _open_active(collections, rows.get(Role.active)):
            _start_afresh(collections)
        _give_up_unusable(collections)
    collections.refresh()


def join(collections: LiveCollections) -> bool:
    """Open the live collections, for a worker; False where the service has not made them yet.

    Raises:
        StartError: encoders of a live collection can't be loaded here.
    """
    rows = collections.database.read(live_collections.live)
    if Role.active not in rows:
        return False
    try:
        for row in rows.values():
            collections.open(row)
    except CollectionMissing as error:
        log.info("%s", error)
        return False
    except EncoderError as error:
        raise StartError(
            f"{error}。请让 PRODUCT_SEARCH_ENCODER 所需的权重与服务所用的一致"
        ) from error
    return True


def retire(session: Session, rows: Collection[VectorCollection]) -> int:
    """No longer write to these; a run drops them: its id."""
    for row in rows:
        live_collections.give_role(row, Role.retired)
    return runs.queue(session, Kind.reindex, DROP).id


def _open_active(collections: LiveCollections, active: VectorCollection | None) -> bool:
    """Whether the active collection can serve from now on."""
    if active is None:
        return False
    try:
        encoders = collections.encoders.find(active.encoder, active.encoder_fingerprint)
    except EncoderError as error:
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


def _give_up_unusable(collections: LiveCollections) -> None:
    """What nobody can write to any more: else all writes would wait for it."""
    rows = collections.database.read(live_collections.live)
    names = {row.name for row in rows.values() if not _opens(collections, row)}

    def give_up(session: Session) -> None:
        there = live_collections.lock(session)
        others = [row for role, row in there.items() if role is not Role.active]
        retire(session, [row for row in others if row.name in names])

    if names:
        collections.database.write(give_up)


def _opens(collections: LiveCollections, row: VectorCollection) -> bool:
    try:
        collections.open(row)
    except (CollectionMissing, EncoderError) as error:
        log.warning("the %s collection %s is given up: %s", row.role, row.name, error)
        return False
    return True
