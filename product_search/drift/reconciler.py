"""The reconciler: checks the stores and image files for drift, and enqueues its repair.

Both stores are read by the key that they share, a page at a time. They are not read at one
instant, so that what differs is at first a suspicion only: it counts if the row, between two
readings of which its entity was read again, is the same, and no outbox event of it waits.
An entity of its row's revision is taken as right: its text attributes are not compared.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import DriftKind, IndexStatus
from orm_models import Database, Product
from product_search.drift.orphaned_images import DIGITS, check_images
from product_search.drift.reports import DriftOptions, DriftProgress
from product_search.drift.snapshots import (
    ProductState,
    Snapshot,
    fetch_snapshot,
    fetch_states_after,
    lock_free,
)
from product_search.errors import OutboxFull, StorageUnavailable, VectorStoreUnavailable
from product_search.images.store import ImageStore
from product_search.indexing import collections
from product_search.indexing.collections import Role
from product_search.milvus.entities import EntityState
from product_search.outbox import catalog_events, events
from product_search.outbox.admission import OpenGate
from product_search.runs import queue
from product_search.runs.executor import LEASE, RunContext, RunFailed
from product_search.runs.queue import Problem, RunKind
from vector_db import EntityCollection, VectorDatabase

PAGE = 1000  # rows and entities that are compared at once
_OUR_COLLECTIONS = re.compile(r"product_v\d+_[0-9a-f]{12}")
# Kinds that are repaired by indexing the product once more.
_REPAIRED_BY_INDEXING = {
    DriftKind.missing,
    DriftKind.stale_revision,
    DriftKind.wrong_encoder,
    DriftKind.unqueued,
}


@dataclass(frozen=True)
class Reconciler:
    """Carries out drift runs: checks the stores and repairs them; it needs no encoder.

    The gate is asked before repairs are enqueued, and notified after.
    """

    database: Database
    vector_database: VectorDatabase
    images: ImageStore
    gate: OpenGate = field(default_factory=OpenGate)
    page: int = PAGE

    def handle(self, context: RunContext) -> None:
        """Carry out the run; see Handler in runs.executor.

        Raises:
            RunFailed: the collections changed meanwhile, a collection to drop is in use, or Milvus
                or the images can't be reached: whoever asked is told, and asks again.
        """
        try:
            _Check(self, context).run_to_end()
        except (VectorStoreUnavailable, StorageUnavailable) as error:
            raise RunFailed(error.message) from error


class _Check:
    """One check, from its saved progress on; each step saves its problems with its repairs."""

    def __init__(self, tools: Reconciler, context: RunContext) -> None:
        self._tools = tools
        self._database = tools.database
        self._context = context
        self._claim = context.claim
        self._options = DriftOptions.model_validate(dict(context.claim.options))
        self._progress = DriftProgress.model_validate(dict(context.claim.progress))
        self._views: dict[str, EntityCollection] = {}

    def run_to_end(self) -> None:
        """Take every step that is left; the run may be interrupted between two of them."""
        steps = {
            "collections": self._check_collections,
            "stores": self._compare_page,
            "pictures": self._check_images,
        }
        while self._progress.stage != "done":
            self._context.check()
            steps[self._progress.stage]()

    def _check_collections(self) -> None:
        """Find the collections to compare, and drop unused ones that the options name."""
        with self._database.alone("collection"):  # none is created or dropped meanwhile
            compared, known = self._database.read(_collections)
            names = self._tools.vector_database.list_collections()
            ours = {name for name in names if _OUR_COLLECTIONS.fullmatch(name)}
            unused = sorted(ours - known)
            self._drop(unused)
        dropped = [_unused_collection(name) for name in unused if name in self._options.drop]
        findings = [_unused_collection(name) for name in unused]
        progress = self._progress.with_counts(findings, dropped).model_copy(
            update={
                "stage": "stores",
                "collections": compared,
                "absent": [name for name in compared if name not in names],
            }
        )
        self._database.write(self._save, progress, findings)
        self._progress = progress

    def _drop(self, unused: Sequence[str]) -> None:
        for name in self._options.drop:
            if name not in unused:
                raise RunFailed(f"{name} 不是多余的集合；多余的有：{'、'.join(unused) or '无'}")
        for name in self._options.drop:
            self._tools.vector_database.drop_collection(name)

    @property
    def _view(self) -> EntityCollection | None:
        """The collection that is being compared; None where it is gone."""
        name = self._progress.collection
        if name is None or name in self._progress.absent:
            return None
        if name not in self._views:  # another process may have created it
            self._views[name] = self._tools.vector_database.open_collection(name)
        return self._views[name]

    def _compare_page(self) -> None:
        """Compare the next rows and entities, up to a key that both reads reach."""
        self._require_same_collections()
        after, page = self._progress.after, self._tools.page
        scanned = self._view.scan(after, page) if self._view else []
        entities = {entity.milvus_id: entity for entity in scanned}
        rows = self._database.read(fetch_states_after, after, page)
        full = [max(found) for found in (rows, entities) if len(found) == page]
        if full:
            entities = {key: one for key, one in entities.items() if key <= min(full)}
            rows = {key: row for key, row in rows.items() if key <= min(full)}
        progress = self._counted(rows, entities)
        if full:
            step: dict[str, object] = {"after": min(full)}
        elif self._progress.place + 1 < len(self._progress.collections):
            step = {"place": self._progress.place + 1, "after": -1}
        else:
            step = {"stage": "pictures"}
        self._confirm(self._suspects(rows, entities), progress, step)

    def _counted(self, rows: Mapping[int, ProductState], entities: Sized) -> DriftProgress:
        failed = sum(row.index_status == IndexStatus.failed for row in rows.values())
        counts = {"entities": self._progress.entities + len(entities)}
        if self._is_first:  # the rows are read again for each collection
            counts["products"] = self._progress.products + len(rows)
            counts["failed"] = self._progress.failed + failed
        return self._progress.model_copy(update=counts)

    @property
    def _is_first(self) -> bool:
        return self._progress.place == 0

    def _require_same_collections(self) -> None:
        """Fail the run where collections have changed: its pages would be of different ones."""
        compared, _ = self._database.read(_collections)
        name = self._progress.collection
        is_there = name is not None and self._tools.vector_database.has_collection(name)
        was_there = name is not None and name not in self._progress.absent
        if (compared, is_there) != (self._progress.collections, was_there):
            raise RunFailed("在用的向量集合在核对期间变了，请重新核对")

    def _suspects(
        self, rows: Mapping[int, ProductState], entities: Mapping[int, EntityState]
    ) -> dict[int, set[int]]:
        """Return the keys that seem to have drifted, with the ids of the products they are of."""
        snapshot, lost = Snapshot(rows, ()), self._lost_images(rows)
        return {
            key: {one.product_id for one in (rows.get(key), entities.get(key)) if one}
            for key in sorted(rows.keys() | entities.keys())
            if self._drifted(key, entities.get(key), snapshot) or key in lost
        }

    def _drifted(self, key: int, entity: EntityState | None, snapshot: Snapshot) -> Problem | None:
        row = snapshot.rows.get(key)
        if snapshot.waits(key, entity) or (row is None and entity is None):
            return None
        if row is None:
            return Problem(DriftKind.orphaned, str(key), "Milvus 中的向量没有对应的商品")
        if row.index_status == IndexStatus.failed:
            return None  # known, and counted apart
        kind, reason = self._compared(row, entity)
        return Problem(kind, str(row.product_id), reason) if kind else None

    def _compared(
        self, row: ProductState, entity: EntityState | None
    ) -> tuple[DriftKind | None, str]:
        if row.index_status != IndexStatus.indexed:
            if not self._is_first:  # the row says it once
                return None, ""
            reason = f"商品为 {row.index_status}，却没有待办的索引工作"
            return DriftKind.unqueued, reason
        if self._view is None:
            return DriftKind.missing, self._why_absent()
        if entity is None:
            return DriftKind.missing, "商品为 indexed，Milvus 中没有它的向量"
        if entity.encoder_fingerprint != (self._progress.collection or "").rpartition("_")[2]:
            reason = f"向量出自编码器 {entity.encoder_fingerprint}，与所在集合不同"
            return DriftKind.wrong_encoder, reason
        if entity.revision != row.revision:
            reason = f"商品的 revision 是 {row.revision}，向量的是 {entity.revision}"
            return DriftKind.stale_revision, reason
        held = (entity.product_id, entity.image_path, entity.has_image)
        if held != (row.product_id, row.image_hash, row.image_hash is not None):
            return DriftKind.stale_revision, "revision 相同，但向量的 product_id 或图片与商品不同"
        return None, ""

    def _why_absent(self) -> str:
        name = self._progress.collection
        if name is None:
            return "还没有在用的集合：启动服务即新建并重新索引"
        if self._is_first:
            return f"Milvus 里没有在用的集合 {name}：重启服务会新建并重新索引"
        return f"Milvus 里没有保留的集合 {name}：重启服务会放弃它"

    def _lost_images(self, rows: Mapping[int, ProductState]) -> dict[int, Problem]:
        """Return by key those of the rows' products whose image has no file."""
        if not self._is_first:
            return {}
        named = {row.image_hash for row in rows.values() if row.image_hash is not None}
        missing = self._tools.images.find_missing(named)
        return {
            key: Problem(
                DriftKind.missing_picture,
                str(row.product_id),
                f"图片文件 {row.image_hash} 不存在；请为商品重新上传图片",
            )
            for key, row in rows.items()
            if row.image_hash in missing
        }

    def _confirm(
        self,
        suspects: Mapping[int, Collection[int]],
        progress: DriftProgress,
        step: Mapping[str, object],
    ) -> None:
        """Read the suspects again; save those that are confirmed, their repairs and the step."""
        first = self._database.read(fetch_snapshot, suspects)
        again = self._states(suspects)
        lost = self._lost_images(first.rows)
        drifted = {key: self._drifted(key, again.get(key), first) for key in suspects}
        repairs = self._may_repair(drifted)

        def confirm(session: Session) -> tuple[DriftProgress, bool]:
            locked = lock_free(session, first.rows.values()) if repairs else None
            second = fetch_snapshot(session, suspects)
            kept = [key for key in suspects if first.rows.get(key) == second.rows.get(key)]
            sure = [key for key in kept if self._drifted(key, again.get(key), second)]
            if locked is not None:  # a row that somebody else is changing is work in progress
                sure = [key for key in sure if key not in first.rows or key in locked]
            apart = [one for one in (drifted[key] for key in sure) if one]
            repaired = apart if repairs else []
            _repair(session, repaired)
            found = apart + [one for one in (lost.get(key) for key in kept) if one]
            counted = progress.with_counts(found, repaired).model_copy(update=step)
            self._save(session, counted, found)
            return counted, bool(repaired)

        self._progress, queued = self._database.write(confirm)
        if queued:
            self._tools.gate.notify()

    def _states(self, keys: Iterable[int]) -> dict[int, EntityState]:
        wanted = list(keys)
        if self._view is None or not wanted:
            return {}
        return {entity.milvus_id: entity for entity in self._view.states(wanted)}

    def _may_repair(self, drifted: Mapping[int, Problem | None]) -> bool:
        """Return whether this page's repairs are to be enqueued.

        They are not where the collection is gone, which the next start of the service creates and
        fills by itself; nor where too much waits already: the next run goes on with the rest.
        """
        count = sum(1 for one in drifted.values() if one)
        if not self._options.repair or not count or self._view is None:
            return False
        try:
            self._tools.gate.admit(count, events.Priority.background)
        except OutboxFull:
            return False
        return True

    def _check_images(self) -> None:
        """Check the image files whose hashes begin with the next digit."""
        step, tools = self._progress.folder, self._tools
        result = check_images(
            self._database, tools.images, DIGITS[step], repair=self._options.repair
        )
        found = [_orphaned_image(name) for name in result.orphans]
        repaired = [_orphaned_image(name) for name in result.deleted]
        is_last = step == len(DIGITS) - 1
        progress = self._progress.with_counts(found, repaired).model_copy(
            update={
                "pictures": self._progress.pictures + result.pictures,
                "folder": step + 1,
                "stage": "done" if is_last else "pictures",
            }
        )

        def save(session: Session) -> None:
            self._save(session, progress, found)
            if is_last:
                queue.drop_older_problems(session, RunKind.doctor, self._claim.id)

        self._database.write(save)
        self._progress = progress

    def _save(self, session: Session, progress: DriftProgress, found: Sequence[Problem]) -> None:
        queue.add_problems(session, self._claim.id, self._progress.examples(found))
        queue.save(session, self._claim, progress.model_dump(mode="json"), LEASE)


def _collections(session: Session) -> tuple[list[str], set[str]]:
    """Return the collections that are kept in step, the active one first; and all known ones.

    A collection that is being filled may lack products whose events are not recorded yet.
    """
    live = collections.fetch_live(session)
    kept = [live[role].name for role in (Role.active, Role.previous) if role in live]
    retired = collections.fetch_retired(session)
    return kept, {row.name for row in [*live.values(), *retired]}


def _repair(session: Session, found: Sequence[Problem]) -> None:
    products = [int(one.subject) for one in found if one.kind in _REPAIRED_BY_INDEXING]
    if products:
        drifted = select(Product).where(Product.id.in_(products))
        catalog_events.retry(session, drifted, events.Priority.background)
    orphans = [int(one.subject) for one in found if one.kind == DriftKind.orphaned]
    catalog_events.record_orphans(session, orphans)


def _unused_collection(name: str) -> Problem:
    reason = f"没有人使用的集合；manage doctor --drop {name} 删除它"
    return Problem(DriftKind.wrong_encoder, name, reason)


def _orphaned_image(name: str) -> Problem:
    return Problem(DriftKind.orphaned_picture, name, "没有商品使用的图片文件")
