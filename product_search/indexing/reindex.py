"""A new encoder without downtime: fill a second collection, switch to it, roll back, drop it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from data_models import ChangeOperation
from nlp_models import EncoderPair
from orm_models import Database, Product, Run, VectorCollection
from product_search.changes.record import Subject, record_change
from product_search.database.clock import database_clock
from product_search.errors import EncoderError, StartError
from product_search.indexing.collections import (
    LiveCollections,
    Role,
    add_collection,
    assign_role,
    fetch_live,
    fetch_retired,
    lock_live,
)
from product_search.indexing.startup import retire_collections
from product_search.milvus.schema import collection_name
from product_search.outbox import catalog_events, counts
from product_search.outbox.admission import OpenGate
from product_search.runs import queue
from product_search.runs.executor import LEASE, RunContext, RunFailed
from product_search.runs.queue import RunKind, RunLost

log = logging.getLogger(__name__)

POLL_S = 0.2

Progress = Mapping[str, Any]


class ReindexRefused(StartError):
    """The request does not fit the state of the collections; the message says what does."""


def start(session: Session, encoder: str, rate: int | None) -> int:
    """Enqueue a reindexing, or go on with an abandoned run for this encoder; return the run's id.

    Raises:
        ReindexRefused: another reindexing is unfinished, or a previous collection is kept.
    """
    rows = lock_live(session)
    run = find_unfinished(session)
    if run is not None:
        if run.options["encoder"] == encoder and _is_abandoned(session, run):
            return run.id
        raise ReindexRefused(
            f"已有一次换编码器（第 {run.id} 号）在进行：--status 看进度，--cancel 取消"
        )
    if Role.active not in rows:
        raise ReindexRefused("还没有在用的集合：请先启动一次服务")
    if Role.previous in rows:
        raise ReindexRefused(
            f"上一个集合 {rows[Role.previous].name} 还留着：请先 --drop-old 或 --rollback"
        )
    return queue.enqueue(session, RunKind.reindex, {"encoder": encoder, "rate": rate}).id


def renew(session: Session, encoder: str) -> int:
    """Enqueue a run that encodes everything anew with the same encoder: the run's id.

    A previous collection, which this release would encode otherwise too, is retired for it.

    Raises ReindexRefused.
    """
    rows = lock_live(session)
    if Role.previous in rows and find_unfinished(session) is None:
        retire_collections(session, [rows[Role.previous]])
        session.flush()
    return start(session, encoder, None)


def find_unfinished(session: Session) -> Run | None:
    """Return the unfinished reindexing; runs that only drop collections don't count."""
    found = queue.list_unfinished(session, RunKind.reindex)
    return next((run for run in found if "encoder" in run.options), None)


def _is_abandoned(session: Session, run: Run) -> bool:
    return run.lease_until is None or not queue.is_lease(run.lease_until, database_clock(session))


def roll_back(session: Session) -> VectorCollection:
    """Swap the active and the previous collection; return the one that is active now.

    Raises:
        ReindexRefused: there is no previous collection.
    """
    rows = lock_live(session)
    if Role.previous not in rows:
        raise ReindexRefused("没有上一个集合可以换回")
    assign_role(rows[Role.active], Role.previous)
    assign_role(rows[Role.previous], Role.active)
    now_active = Subject("collection", rows[Role.previous].name)
    record_change(session, ChangeOperation.reindex_rolled_back, now_active)
    return rows[Role.previous]


def drop_previous(session: Session) -> int:
    """Retire the previous collection; return the id of the run that drops it.

    Raises:
        ReindexRefused: there is no previous collection.
    """
    rows = lock_live(session)
    if Role.previous not in rows:
        raise ReindexRefused("没有上一个集合可以删除")
    return retire_collections(session, [rows[Role.previous]])


def retire_active(session: Session) -> VectorCollection:
    """Retire the active collection, whose weights are gone: the next service creates a new one.

    Raises:
        ReindexRefused: there is none, or another collection has to be dealt with first.
    """
    rows = lock_live(session)
    if Role.active not in rows:
        raise ReindexRefused("没有在用的集合可以放弃")
    if Role.previous in rows:
        name = rows[Role.previous].name
        raise ReindexRefused(f"上一个集合 {name} 还在：请 --rollback；它也用不了时，先 --drop-old")
    if Role.filling in rows or find_unfinished(session) is not None:
        raise ReindexRefused("有一次换编码器在进行：请先 --cancel")
    retire_collections(session, [rows[Role.active]])
    return rows[Role.active]


def cancel(session: Session) -> int:
    """Cancel the reindexing; return the id of the run that drops what was filled.

    Raises:
        ReindexRefused: there is none to cancel.
    """
    rows = lock_live(session)
    run = find_unfinished(session)
    if run is None and Role.filling not in rows:
        raise ReindexRefused("没有正在进行的换编码器可以取消")
    if run is not None:
        queue.cancel(session, run.id)
    return retire_collections(session, [row for role, row in rows.items() if role is Role.filling])


@dataclass(frozen=True)
class Reindexer:
    """Carries out reindexing runs: fills and switches, or drops retired collections.

    Filling goes through the outbox: the run only records events, a batch ahead of the indexers.
    So a product is filled in under the claim that every write of it is done under, and no write
    or deletion can be overtaken; `gate` tells this process's indexer.
    """

    collections: LiveCollections
    batch: int
    gate: OpenGate

    @property
    def _database(self) -> Database:
        return self.collections.database

    def handle(self, context: RunContext) -> None:
        """Carry out the run; see Handler in runs.executor."""
        if "encoder" in context.claim.options:
            self._fill_and_switch(context)
        else:
            self._drop_retired()

    def _fill_and_switch(self, context: RunContext) -> None:
        progress: Progress = context.claim.progress
        if "switched" not in progress:
            if not self._can_resume(progress):
                progress = self._create_filling(context)
            progress = self._record_fills(context, progress)
            while not self._database.write(_switch, context, progress):
                self._wait_for_fills(context, limit=1)
        self.collections.refresh()

    def _can_resume(self, progress: Progress) -> bool:
        """Return whether the collection that the run has begun to fill is there."""
        filling = self._database.read(fetch_live).get(Role.filling)
        return filling is not None and filling.name == progress.get("collection")

    def _create_filling(self, context: RunContext) -> Progress:
        """Create the collection, and register it so that every process writes to it."""
        try:
            encoders = self.collections.encoders.load_named(context.claim.options["encoder"])
        except EncoderError as error:
            log.warning("a reindexing can't begin: %s", error)  # names folders
            raise RunFailed("编码器载不出来，原因见服务的日志") from error
        name = collection_name(encoders.fingerprint)
        rows = self._database.read(fetch_live)
        if name in {row.name for role, row in rows.items() if role is not Role.filling}:
            raise RunFailed(f"编码器 {encoders.name}（指纹 {encoders.fingerprint}）已经在用")
        with self._database.alone("collection"):  # nobody drops meanwhile what is created here
            self.collections.vector_database.drop_collection(name)  # left from another time
            self.collections.create(encoders)
            return self._database.write(_register_filling, context, encoders)

    def _record_fills(self, context: RunContext, progress: Progress) -> Progress:
        rate = context.claim.options["rate"]
        batch = min(self.batch, rate) if rate else self.batch
        while True:
            began = time.monotonic()
            self._wait_for_fills(context, unclaimed=True, limit=1)
            queued, progress = self._database.write(_record_batch, context, progress, batch)
            if not queued:
                return progress
            self.gate.notify()
            if rate:
                context.stopping.wait(max(0.0, queued / rate - (time.monotonic() - began)))

    def _wait_for_fills(self, context: RunContext, *, limit: int, unclaimed: bool = False) -> None:
        """Wait until fewer than `limit` fills are left.

        Raises:
            RunInterrupted: the process is ending.
            RunLost: the run was cancelled.
        """

        def look(session: Session) -> tuple[bool, int]:
            is_filling = Role.filling in fetch_live(session)
            return is_filling, counts.count_fills(session, limit, unclaimed=unclaimed)

        while True:
            context.check()
            is_filling, left = self._database.read(look)
            if not is_filling:
                raise RunLost(f"run {context.claim.id} was cancelled")
            if left < limit:
                return
            context.stopping.wait(POLL_S)

    def _drop_retired(self) -> None:
        with self._database.alone("collection"):
            for row in self._database.read(fetch_retired):
                self.collections.vector_database.drop_collection(row.name)
                self._database.write(_delete_retired, row.name)


def _register_filling(session: Session, context: RunContext, encoders: EncoderPair) -> Progress:
    rows = lock_live(session)
    name = collection_name(encoders.fingerprint)
    abandoned = [r for role, r in rows.items() if role is Role.filling and r.name != name]
    if abandoned:
        retire_collections(session, abandoned)
    add_collection(session, encoders, Role.filling)
    total = session.scalar(select(func.count()).select_from(Product)) or 0
    progress = {"collection": name, "last_id": 0, "queued": 0, "total": total}
    queue.save(session, context.claim, progress, LEASE)
    return progress


def _record_batch(
    session: Session, context: RunContext, progress: Progress, limit: int
) -> tuple[int, Progress]:
    ids = catalog_events.record_fill(session, progress["last_id"], limit)
    if ids:
        queued = progress["queued"] + len(ids)
        progress = {**progress, "last_id": ids[-1], "queued": queued}
    queue.save(session, context.claim, progress, LEASE)
    return len(ids), progress


def _switch(session: Session, context: RunContext, progress: Progress) -> bool:
    """Make the filled collection the active one; return False where fills are still left."""
    rows = lock_live(session)
    if Role.filling not in rows:
        raise RunLost(f"run {context.claim.id} was cancelled")
    if counts.count_fills(session, 1):
        return False
    assign_role(rows[Role.active], Role.previous)
    assign_role(rows[Role.filling], Role.active)
    queue.save(session, context.claim, {**progress, "switched": True}, LEASE)
    return True


def _delete_retired(session: Session, name: str) -> None:
    row = session.get(VectorCollection, name, with_for_update=True)
    if row is not None and row.role == Role.retired:
        session.delete(row)
