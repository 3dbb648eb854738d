"""Which Milvus collections are live, by role, each open together with the encoders that fill it."""

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
from vector_db import EntityCollection, VectorDatabase

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
REFRESH_S = 1.0  # searches follow a switch that another process made this late
RETRY_S = 30.0  # encoders that could not be loaded are tried again this late


class Role(StrEnum):
    """The part that a collection plays; all but the last are live: every write goes to them."""

    active = "active"  # searches read it
    filling = "filling"  # a reindexing fills it
    previous = "previous"  # was active before, and can be again
    retired = "retired"  # to be dropped


class EncoderSource(Protocol):
    """Where encoder pairs come from. Every method raises EncoderError where it has none."""

    def load_chosen(self) -> EncoderPair:
        """The pair that the settings choose."""
        ...

    def load_named(self, name: str) -> EncoderPair:
        """The pair of this name."""
        ...

    def load_matching(self, name: str | None, fingerprint: str) -> EncoderPair:
        """The pair with this fingerprint; None is a name that is not known."""
        ...


class ReleaseMismatch(EncoderError):
    """A collection has the fields of another release of the service."""


class CollectionMissing(VectorStoreUnavailable):
    """Milvus does not hold a collection that the relational store names."""


@dataclass(frozen=True)
class OpenCollection:
    """A collection and the only encoders that its vectors may be compared with."""

    encoders: EncoderPair
    entities: EntityCollection

    @classmethod
    def open(cls, encoders: EncoderPair, vector_database: VectorDatabase) -> OpenCollection:
        """The collection that bears the encoders' fingerprint; it is made where there is none."""
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
    """The live collections; at most one of each role."""
    return {Role(row.role): row for row in session.scalars(_live())}


def lock_live(session: Session) -> dict[Role, VectorCollection]:
    """The same, held: roles change one transaction at a time. Before any other statement."""
    return {Role(row.role): row for row in session.scalars(_live().with_for_update())}


def fetch_retired(session: Session) -> list[VectorCollection]:
    """The collections that are to be dropped."""
    gone = select(VectorCollection).where(VectorCollection.role == Role.retired)
    return list(session.scalars(gone))


def assign_role(row: VectorCollection, role: Role) -> None:
    """From the end of the transaction on."""
    row.role, row.role_since = role, datetime.now(UTC)


def add_collection(session: Session, encoders: EncoderPair, role: Role) -> None:
    """A collection of these encoders in this role, whatever it was before."""
    session.merge(
        VectorCollection(
            name=collection_name(encoders.fingerprint),
            role=role,
            encoder=encoders.name,
            encoder_fingerprint=encoders.fingerprint,
            role_since=datetime.now(UTC),
        )
    )


def _live() -> Select[VectorCollection]:
    others = VectorCollection.role != Role.retired
    return select(VectorCollection).where(others).order_by(VectorCollection.name)


class LiveCollections:
    """The live collections as this process has opened them."""

    def __init__(
        self, database: Database, vector_database: VectorDatabase, encoders: EncoderSource
    ) -> None:
        self.database = database
        self.vector_database = vector_database
        self.encoders = encoders
        self._opened: dict[str, OpenCollection] = {}
        self._opening = threading.Lock()
        self._refreshing = threading.Lock()
        self._active: OpenCollection | None = None
        self._look_at = 0.0

    def active(self) -> OpenCollection:
        """What a search reads. The row is looked at each second, by one search of those at hand.

        Where the new active collection can't be opened here, the one before still answers: it is
        kept in step until it is dropped.
        """
        if time.monotonic() >= self._look_at and self._refreshing.acquire(blocking=False):
            try:
                self._refresh()
            finally:
                self._refreshing.release()
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
        """Look at the rows now."""
        with self._refreshing:
            self._refresh()
        return self.active()

    def _refresh(self) -> None:
        pause = REFRESH_S
        try:
            rows = self.database.read(fetch_live)
            self._forget_others(rows)
            if Role.active in rows:
                self._active = self._open_or_raise(rows[Role.active])
        except AppError as error:
            log.warning("searches go on as before: %s", error)
            if isinstance(error.__cause__, EncoderError):
                pause = RETRY_S
        self._look_at = time.monotonic() + pause  # after what may have taken long

    def open_all(self, rows: Mapping[Role, VectorCollection]) -> list[tuple[Role, OpenCollection]]:
        """All of these, to write to.

        Raises VectorStoreUnavailable where one can't be opened here: without it, work is not done.
        """
        if Role.active not in rows:
            raise VectorStoreUnavailable("还没有可以写入的向量集合")
        self._forget_others(rows)
        return [(role, self._open_or_raise(row)) for role, row in rows.items()]

    def _open_or_raise(self, row: VectorCollection) -> OpenCollection:
        try:
            return self.open(row)
        except EncoderError as error:
            raise VectorStoreUnavailable(f"集合 {row.name} 的编码器载不出来：{error}") from error

    def open(self, row: VectorCollection) -> OpenCollection:
        """The row's collection; encoders are loaded where this process has not had them yet.

        Raises:
            EncoderError: the encoders are not there, or it is another release's.
            CollectionMissing: the collection is not there.
        """
        found = self._opened.get(row.name)  # without waiting for another that is being opened
        if found is not None:
            return found
        with self._opening:
            found = self._opened.get(row.name)
            if found is None:
                encoders = self.encoders_of(row)
                if not self.vector_database.has_collection(row.name):
                    raise CollectionMissing(f"Milvus 里没有集合 {row.name}")
                found = self._opened[row.name] = OpenCollection.open(encoders, self.vector_database)
            return found

    def encoders_of(self, row: VectorCollection) -> EncoderPair:
        """The encoders of the row's collection, loaded. Raises EncoderError, OtherRelease."""
        encoders = self.encoders.load_matching(row.encoder, row.encoder_fingerprint)
        if collection_name(encoders.fingerprint) != row.name:
            raise ReleaseMismatch(f"集合 {row.name} 的字段是另一个版本的")
        return encoders

    def create(self, encoders: EncoderPair) -> OpenCollection:
        """The collection of these encoders, made where there is none."""
        made = OpenCollection.open(encoders, self.vector_database)
        self._opened[made.name] = made
        return made

    def _forget_others(self, rows: Mapping[Role, VectorCollection]) -> None:
        """Let go of encoders that nothing is searched or written with any more."""
        names = {row.name for row in rows.values()}
        for name in list(self._opened):  # other threads may be opening some
            if name not in names:
                self._opened.pop(name, None)
