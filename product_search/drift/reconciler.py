"""Find drift between the relational store, Milvus and the image files, and queue its repair.

Both stores are walked by the key that they share, a page at a time. They are not read at one
instant, so that what differs is at first a suspicion only: it counts if the row, between two
readings of which its entity was read again, is the same, and no outbox event of it waits.
An entity of its row's revision is taken as right: its text attributes are not compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import DriftKind, IndexStatus
from orm_models import Database, Product
from product_search.database.transactions import read_committed
from product_search.drift.orphaned_images import DIGITS, check_folders
from product_search.drift.reports import DriftOptions, DriftProgress
from product_search.errors import OutboxFull, StorageUnavailable, VectorStoreUnavailable
from product_search.images.store import ImageStore
from product_search.indexing import collections
from product_search.indexing.collections import Role
from product_search.milvus.schema import EntityState
from product_search.outbox import counts as outbox_state, events
from product_search.outbox.admission import OpenGate
from product_search.runs import queue
from product_search.runs.executor import LEASE, RunContext, RunFailed
from product_search.runs.queue import Problem, RunKind
from vector_db import EntityCollection, VectorDatabase

PAGE = 1000  # rows, and entities, that are compared at once
_OUR_COLLECTIONS = re.compile(r"product_v\d+_[0-9a-f]{12}")
# These are repaired by indexing the product once more.
_REQUEUED = {
    DriftKind.missing,
    DriftKind.stale_revision,
    DriftKind.wrong_encoder,
    DriftKind.unqueued,
}


class Row(NamedTuple):
    """What of a product tells whether the stores agree on it."""

    milvus_id: int
    product_id: int
    revision: int
    index_status: str
    image_hash: str | None


_ROW = (
    Product.milvus_id,
    Product.id,
    Product.revision,
    Product.index_status,
    Product.image_hash,
)


@dataclass(frozen=True)
class Facts:
    """What the relational store says of some keys: their rows, and whose events wait."""

    rows: Mapping[int, Row]
    waiting: Collection[int]

    def waits(self, key: int, entity: EntityState | None) -> bool:
        """Whether work on the key is under way; a row's, or that of an entity without one."""
        row = self.rows.get(key)
        if row is not None:
            return row.product_id in self.waiting
        return -key in self.waiting or (entity is not None and entity.product_id in self.waiting)


@dataclass(frozen=True)
class Reconciler:
    """Carries out the doctor's runs; any process that has the stores open can.

    The gate is asked before repairs are enqueued, and notified after.
    """

    database: Database
    vector_database: VectorDatabase
    images: ImageStore
    gate: OpenGate = field(default_factory=OpenGate)
    page: int = PAGE

    def handle(self, context: RunContext) -> None:
        """See Handler in runs.executor.

        Raises:
            RunFailed: the collection was changed meanwhile, one to drop is none that can be, or
                Milvus or the images can't be reached: whoever asked is told, and asks again.
        """
        walk = _Walk(self, context)
        try:
            walk.to_the_end(context.check)
        except (VectorStoreUnavailable, StorageUnavailable) as error:
            raise RunFailed(error.message) from error


class _Walk:
    """One run, from its saved progress on; each step saves what it found with what it repaired."""

    def __init__(self, tools: Reconciler, context: RunContext) -> None:
        self._tools = tools
        self._database = tools.database
        self._claimed = context.claim
        self._options = DriftOptions.model_validate(dict(context.claim.options))
        self._progress = DriftProgress.model_validate(dict(context.claim.progress))
        self._views: dict[str, EntityCollection] = {}

    def to_the_end(self, check: Callable[[], None]) -> None:
        """Every step that is left; `check` may raise between two of them."""
        steps = {
            "collections": self._check_collections,
            "stores": self._compare_page,
            "pictures": self._check_folders,
        }
        while self._progress.stage != "done":
            check()
            steps[self._progress.stage]()

    def _check_collections(self) -> None:
        """Which collections are to be compared, and are there others that nobody uses?"""
        with self._database.alone("collection"):  # none is being made or dropped meanwhile
            walked, known = self._database.read(_collections)
            names = self._tools.vector_database.list_collections()
            ours = {name for name in names if _OUR_COLLECTIONS.fullmatch(name)}
            unused = sorted(ours - known)
            self._drop(unused)
        dropped = [_unused(name) for name in unused if name in self._options.drop]
        findings = [_unused(name) for name in unused]
        progress = self._progress.with_counts(findings, dropped).model_copy(
            update={
                "stage": "stores",
                "collections": walked,
                "absent": [name for name in walked if name not in names],
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
        if name not in self._views:  # another process may have made it
            self._views[name] = self._tools.vector_database.open_collection(name)
        return self._views[name]

    def _compare_page(self) -> None:
        """The next rows and entities, up to a key that both readings reach."""
        self._check_collection()
        after, page = self._progress.after, self._tools.page
        scanned = self._view.scan(after, page) if self._view else []
        entities = {entity.milvus_id: entity for entity in scanned}
        rows = self._database.read(_rows_after, after, page)
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
        self._settle(self._suspects(rows, entities), progress, step)

    def _counted(self, rows: Mapping[int, Row], entities: Sized) -> DriftProgress:
        failed = sum(row.index_status == IndexStatus.failed for row in rows.values())
        counts = {"entities": self._progress.entities + len(entities)}
        if self._is_first:  # the rows are read again for each collection
            counts["products"] = self._progress.products + len(rows)
            counts["failed"] = self._progress.failed + failed
        return self._progress.model_copy(update=counts)

    @property
    def _is_first(self) -> bool:
        return self._progress.place == 0

    def _check_collection(self) -> None:
        """A page of one collection and a page of another make no walk."""
        walked, _ = self._database.read(_collections)
        name = self._progress.collection
        is_there = name is not None and self._tools.vector_database.has_collection(name)
        was_there = name is not None and name not in self._progress.absent
        if (walked, is_there) != (self._progress.collections, was_there):
            raise RunFailed("在用的向量集合在核对期间变了，请重新核对")

    def _suspects(
        self, rows: Mapping[int, Row], entities: Mapping[int, EntityState]
    ) -> dict[int, EntityState | None]:
        """The keys that seem to have drifted, and their entities."""
        facts = Facts(rows, ())
        return {
            key: entities.get(key)
            for key in sorted(rows.keys() | entities.keys())
            if self._drifted(key, entities.get(key), facts) or self._lost_image(rows.get(key))
        }

    def _drifted(self, key: int, entity: EntityState | None, facts: Facts) -> Problem | None:
        row = facts.rows.get(key)
        if facts.waits(key, entity) or (row is None and entity is None):
            return None
        if row is None:
            return Problem(DriftKind.orphaned, str(key), "Milvus 中的向量没有对应的商品")
        if row.index_status == IndexStatus.failed:
            return None  # known, and counted apart
        kind, reason = self._compared(row, entity)
        return Problem(kind, str(row.product_id), reason) if kind else None

    def _compared(self, row: Row, entity: EntityState | None) -> tuple[DriftKind | None, str]:
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

    def _lost_image(self, row: Row | None) -> Problem | None:
        if row is None or row.image_hash is None or not self._is_first:
            return None
        if self._tools.images.has(row.image_hash):
            return None
        reason = f"图片文件 {row.image_hash} 不存在；请为商品重新上传图片"
        return Problem(DriftKind.missing_picture, str(row.product_id), reason)

    def _settle(
        self,
        suspects: Mapping[int, EntityState | None],
        progress: DriftProgress,
        step: Mapping[str, object],
    ) -> None:
        """Look again at the suspects; save what is left of them with its repairs and the step."""
        first = self._database.read(_facts, suspects)
        again = self._states(suspects)
        lost = {key: self._lost_image(row) for key, row in first.rows.items()}
        drifted = {key: self._drifted(key, again.get(key), first) for key in suspects}
        repairs = self._repairs(drifted)

        def confirm(session: Session) -> tuple[DriftProgress, bool]:
            held = _hold(session, first.rows.values()) if repairs else None
            second = _facts(session, suspects)
            kept = [key for key in suspects if first.rows.get(key) == second.rows.get(key)]
            sure = [key for key in kept if self._drifted(key, again.get(key), second)]
            if held is not None:  # a row that somebody else is changing is work in progress
                sure = [key for key in sure if key not in first.rows or key in held]
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

    def _repairs(self, drifted: Mapping[int, Problem | None]) -> bool:
        """Whether this page's repairs are to be queued.

        Not where the collection is gone, which the next start of the service makes and fills
        by itself; nor where too much waits already: the next run goes on with the rest.
        """
        count = sum(1 for one in drifted.values() if one)
        if not self._options.repair or not count or self._view is None:
            return False
        try:
            self._tools.gate.admit(count)
        except OutboxFull:
            return False
        return True

    def _check_folders(self) -> None:
        """The image files whose hashes begin with the next digit."""
        step, tools = self._progress.folder, self._tools
        seen = check_folders(
            self._database, tools.images, DIGITS[step], repair=self._options.repair
        )
        found = [_orphaned_image(name) for name in seen.orphans]
        repaired = [_orphaned_image(name) for name in seen.deleted]
        is_last = step == len(DIGITS) - 1
        progress = self._progress.with_counts(found, repaired).model_copy(
            update={
                "pictures": self._progress.pictures + seen.pictures,
                "folder": step + 1,
                "stage": "done" if is_last else "pictures",
            }
        )

        def save(session: Session) -> None:
            self._save(session, progress, found)
            if is_last:
                queue.drop_older_problems(session, RunKind.doctor, self._claimed.id)

        self._database.write(save)
        self._progress = progress

    def _save(self, session: Session, progress: DriftProgress, found: Sequence[Problem]) -> None:
        queue.add_problems(session, self._claimed.id, self._progress.examples(found))
        queue.save(session, self._claimed, progress.model_dump(mode="json"), LEASE)


def _collections(session: Session) -> tuple[list[str], set[str]]:
    """Those that are kept in step, the active one first; and all that are known.

    One that is being filled may lack what nobody has queued for it yet.
    """
    live = collections.fetch_live(session)
    kept = [live[role].name for role in (Role.active, Role.previous) if role in live]
    retired = collections.fetch_retired(session)
    return kept, {row.name for row in [*live.values(), *retired]}


def _rows_after(session: Session, after: int, limit: int) -> dict[int, Row]:
    rows = select(*_ROW).where(Product.milvus_id > after).order_by(Product.milvus_id).limit(limit)
    return {row.milvus_id: Row(*row) for row in session.execute(rows)}


def _facts(session: Session, suspects: Mapping[int, EntityState | None]) -> Facts:
    """Rows and events of one instant."""
    if not suspects:
        return Facts({}, ())
    found = session.execute(select(*_ROW).where(Product.milvus_id.in_(suspects)))
    rows = {row.milvus_id: Row(*row) for row in found}
    ids = {row.product_id for row in rows.values()} | {-key for key in suspects}
    ids |= {entity.product_id for entity in suspects.values() if entity}
    return Facts(rows, outbox_state.find_pending_products(session, ids))


def _hold(session: Session, rows: Iterable[Row]) -> set[int]:
    """Lock these products' rows, without waiting for any: the keys of those that are held."""
    read_committed(session)
    ids = [row.product_id for row in rows]
    free = select(Product.milvus_id).where(Product.id.in_(ids)).order_by(Product.id)
    return set(session.scalars(free.with_for_update(skip_locked=True)))


def _repair(session: Session, found: Sequence[Problem]) -> None:
    products = [int(one.subject) for one in found if one.kind in _REQUEUED]
    if products:
        events.retry(session, select(Product).where(Product.id.in_(products)))
    orphans = [int(one.subject) for one in found if one.kind == DriftKind.orphaned]
    events.record_orphans(session, orphans)


def _unused(name: str) -> Problem:
    reason = f"没有人使用的集合；manage doctor --drop {name} 删除它"
    return Problem(DriftKind.wrong_encoder, name, reason)


def _orphaned_image(name: str) -> Problem:
    return Problem(DriftKind.orphaned_picture, name, "没有商品使用的图片文件")
