"""What happens to the collections when a process starts: opened, created anew, or retired."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import ChangeOperation
from nlp_models import EncoderPair
from orm_models import Product, VectorCollection
from product_search.changes.record import Subject, record_change
from product_search.errors import EncoderError, StartError
from product_search.indexing.collections import (
    CollectionMissing,
    LiveCollections,
    ReleaseMismatch,
    Role,
    add_collection,
    assign_role,
    fetch_live,
    lock_live,
)
from product_search.milvus.schema import collection_name
from product_search.outbox import catalog_events, counts
from product_search.runs import queue
from product_search.runs.queue import RunKind
from product_search.text.document import TERMS_VERSION

log = logging.getLogger(__name__)

_WAY_OUT = {
    Role.active: "manage reindex --rollback 换回上一个集合；没有能用的，则 --give-up-active",
    Role.previous: "manage reindex --drop-old",
    Role.filling: "manage reindex --cancel",
}
# Options of a run that drops retired collections and does nothing else.
DROP_OPTIONS = {"drop": True}


def open_collections(collections: LiveCollections, *, is_service: bool, is_alone: bool) -> None:
    """Open the live collections; create the very first one.

    An active collection that is gone is created anew, with an event for every product. The events
    are committed before the collection is created, so that a crash between the two leaves a
    collection that is missing, and noticed, rather than one that stays empty.

    A collection whose encoders can't be loaded here is retired only by a service that is alone:
    nobody else can use it. The previous one then takes its place, or else a new one.

    Args:
        collections: to open.
        is_service: whether this process is a service, and not a command.
        is_alone: whether no other process can use Milvus.

    Raises:
        EncoderError: there are no encoders to create the collection with.
        StartError: encoders can't be loaded here, and other processes may have them; or a
            collection has to be created for existing products, which is for a service to do.
    """
    may_retire = is_service and is_alone
    with collections.database.alone("collection"):  # of several services at their first start
        while not _ensure_active(collections, is_service=is_service, may_retire=may_retire):
            log.info("the collections' roles have changed meanwhile: once more")
        _retire_unusable(collections, may_retire=may_retire)
    collections.refresh()


def renew_terms(session: Session) -> bool:
    """Record every product where the active collection has the terms of another release.

    Searches go on: until a product is indexed anew, it is found by its former terms.
    """
    rows = lock_live(session)
    if Role.active not in rows or rows[Role.active].terms_version == TERMS_VERSION:
        return False
    for row in rows.values():
        row.terms_version = TERMS_VERSION
    is_rebuilding = counts.is_rebuilding(session)
    record = catalog_events.record_rebuild if is_rebuilding else catalog_events.record_renewal
    record(session)
    return True


def open_existing_collections(collections: LiveCollections) -> bool:
    """Open the live collections, for a worker; return False where there is none to open yet.

    Raises:
        StartError: encoders of a live collection can't be loaded here.
    """
    rows = collections.database.read(fetch_live)
    if Role.active not in rows:
        return False
    return all(_try_open(collections, row, may_retire=False) for row in rows.values())


def retire_collections(session: Session, rows: Collection[VectorCollection]) -> int:
    """Retire the collections; return the id of the run that drops them."""
    for row in rows:
        assign_role(row, Role.retired)
        record_change(session, ChangeOperation.collection_retired, Subject("collection", row.name))
    return queue.enqueue(session, RunKind.reindex, DROP_OPTIONS).id


def _refusal(row: VectorCollection, error: EncoderError) -> StartError:
    if isinstance(error, ReleaseMismatch):
        return StartError(f"{error}：请让服务、worker 与命令的版本一致，先启动新版本的服务")
    way_out = _WAY_OUT[Role(row.role)]
    return StartError(f"{row.role} 集合 {row.name}：{error}。权重确已不在时：{way_out}")


def _ensure_active(collections: LiveCollections, *, is_service: bool, may_retire: bool) -> bool:
    """Open the active collection, or put another in its place; False where roles have changed."""
    rows = collections.database.read(fetch_live)
    active, previous = rows.get(Role.active), rows.get(Role.previous)
    if active is None:
        if not is_service and collections.database.read(_any_product):
            raise StartError("还没有在用的向量集合：请先启动服务，由它新建")
        return _create_active(collections, None)
    try:
        encoders = collections.load_encoders(active)
    except EncoderError as error:
        if not (may_retire or (is_service and isinstance(error, ReleaseMismatch))):
            raise _refusal(active, error) from error
        log.warning("the active collection %s can't be searched any more: %s", active.name, error)
    else:
        return _open_active(collections, active, encoders)
    if previous is None or not _try_open(collections, previous, may_retire=True):
        return _create_active(collections, active)
    log.warning("searches go back to %s, the previous collection", previous.name)
    names = {Role.active: active.name, Role.previous: previous.name}
    return collections.database.write(partial(_restore_previous, names=names))


def _any_product(session: Session) -> bool:
    return session.scalar(select(Product.id).limit(1)) is not None


def _open_active(
    collections: LiveCollections, active: VectorCollection, encoders: EncoderPair
) -> bool:
    if not collections.vector_database.has_collection(active.name):
        if not _record_all(collections, encoders, active):
            return False
    elif active.encoder is None:
        _save_encoder_name(collections, active.name, encoders)
    collections.create(encoders)
    return True


def _restore_previous(session: Session, names: Mapping[Role, str]) -> bool:
    rows = lock_live(session)
    if any(role not in rows or rows[role].name != name for role, name in names.items()):
        return False
    retire_collections(session, [rows[Role.active]])
    assign_role(rows[Role.previous], Role.active)
    return True


def _create_active(collections: LiveCollections, active: VectorCollection | None) -> bool:
    encoders = collections.encoders.load_chosen()
    if not _is_active(collections.database.read(fetch_live), active):
        return False
    # Left from another time: nobody kept it in step.
    collections.vector_database.drop_collection(collection_name(encoders.fingerprint))
    if not _record_all(collections, encoders, active):
        return False
    collections.create(encoders)
    return True


def _is_active(rows: Mapping[Role, VectorCollection], active: VectorCollection | None) -> bool:
    """Return whether this collection, or where it is None no collection, is active."""
    now = rows.get(Role.active)
    return (now and now.name) == (active and active.name)


def _record_all(
    collections: LiveCollections, encoders: EncoderPair, active: VectorCollection | None
) -> bool:
    """Record every product for a collection that is active, or becomes it in its place.

    False where roles have changed.
    """
    name = collection_name(encoders.fingerprint)
    log.info("collection %s is new: every product is queued for indexing", name)

    def record(session: Session) -> bool:
        rows = lock_live(session)
        if not _is_active(rows, active):
            return False
        if active is not None and active.name != name:
            retire_collections(session, [row for row in rows.values() if row.name != name])
        add_collection(session, encoders, Role.active)
        catalog_events.record_rebuild(session)
        return True

    return collections.database.write(record)


def _save_encoder_name(collections: LiveCollections, name: str, encoders: EncoderPair) -> None:
    def save(session: Session) -> None:
        session.get_one(VectorCollection, name, with_for_update=True).encoder = encoders.name

    collections.database.write(save)


def _retire_unusable(collections: LiveCollections, *, may_retire: bool) -> None:
    """Retire collections that nobody can write to any more: all writes would wait for them."""
    rows = collections.database.read(fetch_live)
    unusable = [
        row for row in rows.values() if not _try_open(collections, row, may_retire=may_retire)
    ]
    names = {row.name for row in unusable}

    def retire(session: Session) -> None:
        there = lock_live(session)
        others = [row for role, row in there.items() if role is not Role.active]
        retire_collections(session, [row for row in others if row.name in names])

    for row in unusable:
        log.warning("the %s collection %s is given up", row.role, row.name)
    if names:
        collections.database.write(retire)


def _try_open(collections: LiveCollections, row: VectorCollection, *, may_retire: bool) -> bool:
    """Open the collection; return False where it can't be used any more.

    Raises:
        StartError: its encoders can't be loaded here, and another process may have them.
    """
    try:
        collections.open(row)
    except CollectionMissing as error:
        log.warning("%s", error)
        return False
    except EncoderError as error:
        if not may_retire:
            raise _refusal(row, error) from error
        log.warning("%s", error)
        return False
    return True
