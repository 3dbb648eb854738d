"""The live Milvus collections by role, each open together with the encoders that fill it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from data_models import VectorField
from nlp_models import EncoderPair
from orm_models import Database, VectorCollection
from product_search.errors import AppError, EncoderError, VectorStoreUnavailable
from product_search.milvus.schema import collection_name
from product_search.text.document import TERMS_VERSION
from vector_db import EntityCollection, VectorDatabase

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
REFRESH_S = 1.0  # searches follow another process's switch this late
RETRY_S = 30.0  # encoders that could not be loaded are tried again this late


class Role(StrEnum):
    """What a collection is for; every write goes to all but retired ones, which are live."""

    active = "active"  # searches read it
    filling = "filling"  # a reindexing fills it
    previous = "previous"  # was active before the last switch, and can be again
    retired = "retired"  # to be dropped


class EncoderSource(Protocol):
    """Source of encoder pairs; every method raises EncoderError where it has none that fits."""

    def load_chosen(self) -> EncoderPair:
        """Load the pair that the settings choose."""
        ...

    def load_named(self, name: str) -> EncoderPair:
        """Load the pair of this name."""
        ...

    def load_matching(self, name: str | None, fingerprint: str) -> EncoderPair:
        """Load the pair with this fingerprint; `name` is None where it is not known."""
        ...


class ReleaseMismatch(EncoderError):
    """The collection has the fields of another release of the service."""


class CollectionMissing(VectorStoreUnavailable):
    """Milvus does not hold a collection that the relational store names."""


@dataclass(frozen=True)
class OpenCollection:
    """A collection and the only encoders that its vectors may be compared with."""

    encoders: EncoderPair
    entities: EntityCollection

    @classmethod
    def open(cls, encoders: EncoderPair, vector_database: VectorDatabase) -> OpenCollection:
        """Open the collection of these encoders; create it where there is none."""
        clip = encoders.image_text.dim
        dims = {
            VectorField.image_clip: clip,
            VectorField.text_clip: clip,
            VectorField.text_bge: encoders.text.dim,
        }
        name = collection_name(encoders.fingerprint)
        return cls(encoders, vector_database.ensure_collection(name, dims))

    @property
    def name(self) -> str:
        """The collection's name in Milvus."""
        return collection_name(self.encoders.fingerprint)


def fetch_live(session: Session) -> dict[Role, VectorCollection]:
    """Return the live collections by role; each role has at most one."""
    return {Role(row.role): row for row in session.scalars(_live())}


def lock_live(session: Session) -> dict[Role, VectorCollection]:
    """Return the live collections, locked: roles change one transaction at a time.

    This has to be the transaction's first statement.
    """
    return {Role(row.role): row for row in session.scalars(_live().with_for_update())}


def fetch_retired(session: Session) -> list[VectorCollection]:
    """Return the retired collections, which are to be dropped."""
    retired = select(VectorCollection).where(VectorCollection.role == Role.retired)
    return list(session.scalars(retired))


def assign_role(row: VectorCollection, role: Role) -> None:
    """Give the collection another role, when the transaction commits."""
    row.role, row.role_since = role, datetime.now(UTC)


def add_collection(session: Session, encoders: EncoderPair, role: Role) -> None:
    """Add a collection of these encoders in this role, whatever role it had before."""
    session.merge(
        VectorCollection(
            name=collection_name(encoders.fingerprint),
            role=role,
            encoder=encoders.name,
            encoder_fingerprint=encoders.fingerprint,
            terms_version=TERMS_VERSION,
            role_since=datetime.now(UTC),
        )
    )


def _live() -> Select[VectorCollection]:
    is_live = VectorCollection.role != Role.retired
    return select(VectorCollection).where(is_live).order_by(VectorCollection.name)


class LiveCollections:
    """The live collections as this process has opened them."""

    def __init__(
        self, database: Database, vector_database: VectorDatabase, encoders: EncoderSource
    ) -> None:
        """Open nothing yet: `active`, `open_all` and `open` do, when they are called."""
        self.database = database
        self.vector_database = vector_database
        self.encoders = encoders
        self._opened: dict[str, OpenCollection] = {}
        self._opening = threading.Lock()
        self._refreshing = threading.Lock()
        self._active: OpenCollection | None = None
        self._next_refresh = 0.0

    def active(self) -> OpenCollection:
        """Return the active collection, which searches read.

        Its row is read again each second, by one of the searches at that moment: the others go on
        with the collection as it was, and wait only where none has been read yet.
        Where the new active collection can't be opened here, the one before still answers: it is
        kept in step until it is dropped.
        """
        is_first = self._active is None
        if self._is_due() and self._refreshing.acquire(blocking=is_first):
            try:
                if self._is_due():
                    self._refresh()
            finally:
                self._refreshing.release()
        return self.last_active()

    def _is_due(self) -> bool:
        return time.monotonic() >= self._next_refresh

    def last_active(self) -> OpenCollection:
        """Return the active collection as it was last read; this asks no store."""
        if self._active is None:
            raise VectorStoreUnavailable("还没有可以搜索的向量集合，请稍后重试")
        return self._active

    def query(
        self,
        work: Callable[Concatenate[OpenCollection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Return `work(collection, *args, **kwargs)` for the active collection.

        Where another collection has become active meanwhile, the work runs again with that one.

        Raises:
            VectorStoreUnavailable: the vector store does not answer.
        """
        collection = self.active()
        try:
            return work(collection, *args, **kwargs)
        except VectorStoreUnavailable:
            refreshed = self.refresh()
            if refreshed is collection:
                raise
            return work(refreshed, *args, **kwargs)

    def refresh(self) -> OpenCollection:
        """Read the rows now, and return the active collection."""
        with self._refreshing:
            self._refresh()
        return self.active()

    def _refresh(self) -> None:
        pause = REFRESH_S
        try:
            rows = self.database.read(fetch_live)
            self._close_others(rows)
            if Role.active in rows:
                self._active = self._open_or_raise(rows[Role.active])
        except AppError as error:
            log.warning("searches go on as before: %s", error)
            if isinstance(error.__cause__, EncoderError):
                pause = RETRY_S
        self._next_refresh = time.monotonic() + pause  # after what may have taken long

    def open_all(self, rows: Mapping[Role, VectorCollection]) -> list[tuple[Role, OpenCollection]]:
        """Open all these collections, to write to.

        Raises:
            VectorStoreUnavailable: one can't be opened here, and a write has to go to all.
        """
        if Role.active not in rows:
            raise VectorStoreUnavailable("还没有可以写入的向量集合")
        self._close_others(rows)
        return [(role, self._open_or_raise(row)) for role, row in rows.items()]

    def _open_or_raise(self, row: VectorCollection) -> OpenCollection:
        try:
            return self.open(row)
        except EncoderError as error:
            log.warning("collection %s: %s", row.name, error)  # names folders
            reason = "原因见服务的日志"
            raise VectorStoreUnavailable(f"集合 {row.name} 的编码器载不出来，{reason}") from error

    def open(self, row: VectorCollection) -> OpenCollection:
        """Open the row's collection; its encoders are loaded where they are not loaded yet.

        Raises:
            EncoderError: the encoders are not there, or the collection is another release's.
            CollectionMissing: the collection is not there.
        """
        found = self._opened.get(row.name)  # without waiting for another that is being opened
        if found is not None:
            return found
        with self._opening:
            found = self._opened.get(row.name)
            if found is None:
                encoders = self.load_encoders(row)
                if not self.vector_database.has_collection(row.name):
                    raise CollectionMissing(f"Milvus 里没有集合 {row.name}")
                found = self._opened[row.name] = OpenCollection.open(encoders, self.vector_database)
            return found

    def load_encoders(self, row: VectorCollection) -> EncoderPair:
        """Load the encoders of the row's collection.

        Raises:
            EncoderError: they are not there.
            ReleaseMismatch: the collection has the fields of another release.
        """
        for opened in (self._opened.get(row.name), self._active):
            if opened is not None and opened.name == row.name:
                return opened.encoders
        encoders = self.encoders.load_matching(row.encoder, row.encoder_fingerprint)
        if collection_name(encoders.fingerprint) != row.name:
            raise ReleaseMismatch(f"集合 {row.name} 的字段是另一个版本的")
        return encoders

    def create(self, encoders: EncoderPair) -> OpenCollection:
        """Open the collection of these encoders; create it where there is none."""
        collection = OpenCollection.open(encoders, self.vector_database)
        self._opened[collection.name] = collection
        return collection

    def close_missing(self) -> None:
        """Let go of open collections that Milvus no longer holds. Raises VectorStoreUnavailable."""
        for name in list(self._opened):
            if not self.vector_database.has_collection(name):
                self._opened.pop(name, None)

    def _close_others(self, rows: Mapping[Role, VectorCollection]) -> None:
        """Drop encoders that nothing is searched or written with any more."""
        names = {row.name for row in rows.values()}
        for name in list(self._opened):  # other threads may be opening some
            if name not in names:
                self._opened.pop(name, None)
