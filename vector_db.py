"""The Milvus room: a vector database and its collections behind two Protocols."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pymilvus import MilvusClient

from product_search.errors import StartError, VectorStoreUnavailable
from product_search.milvus.collection import MilvusCollection
from product_search.milvus.connection import MilvusConnection
from product_search.milvus.entities import Entity, EntityState, Vector
from product_search.milvus.hits import Hits
from product_search.milvus.options import MilvusOptions, MilvusServer
from product_search.milvus.schema import BM25, collection_schema
from product_search.milvus.searches import EntitySearch, Found
from product_search.schemas.filters import SearchFilters
from product_search.schemas.search import VectorField

log = logging.getLogger(__name__)


class EntityCollection(Protocol):
    """The entities of one open collection, by their Milvus primary key.

    Every method raises VectorStoreUnavailable where Milvus does not answer.
    """

    def upsert(self, entities: Sequence[Entity]) -> None:
        """Write each entity whole, replacing what its primary key held.

        Many go in several messages: after an error some may have been written.
        """
        ...

    def delete(self, milvus_ids: Sequence[int]) -> None:
        """Remove entities; no error for keys that are not there."""
        ...

    def search_all(self, searches: Sequence[EntitySearch]) -> list[Found]:
        """Return the hits of each search, best first, or why it has none.

        All are on their way at the same time. Those of different threads that differ in nothing
        but what they look for share a call.

        Raises:
            Overloaded: too many searches wait.
            ClientGone: nobody waits for the answer any more.
        """
        ...

    def search(
        self,
        field: VectorField,
        vector: Vector,
        limit: int,
        filters: SearchFilters,
        *,
        with_terms: bool = False,
    ) -> Hits:
        """Return the hits of one VectorSearch; their score is the cosine."""
        ...

    def search_text(
        self,
        terms: str,
        limit: int,
        filters: SearchFilters,
        *,
        only: Sequence[int] | None = None,
    ) -> Hits:
        """Return the hits of one TermSearch; their score is above 0."""
        ...

    def count(self) -> int:
        """Return how many entities the collection holds."""
        ...

    def scan(self, after: int, limit: int) -> list[EntityState]:
        """Return the entities with the smallest keys above `after`, in the order of their keys.

        From -1 on, each time after the last key that came, this reads the whole collection.
        """
        ...

    def states(self, milvus_ids: Sequence[int]) -> list[EntityState]:
        """Return those of at most MAX_LIMIT entities that are there, in no order."""
        ...

    def vectors(self, field: VectorField, milvus_ids: Sequence[int]) -> dict[int, Vector]:
        """Return by key the stored vectors of these entities that have a vector in this field."""
        ...

    def ping(self) -> None:
        """Raise where Milvus does not answer, or no longer holds the collection."""
        ...


class VectorDatabase(Protocol):
    """The collections of a Milvus: opened, made, dropped and listed.

    Every method raises VectorStoreUnavailable where Milvus does not answer.
    """

    def has_collection(self, name: str) -> bool:
        """Return whether the collection exists."""
        ...

    def list_collections(self) -> list[str]:
        """Return the names of all collections, other applications' included."""
        ...

    def open_collection(self, name: str) -> EntityCollection:
        """Open a collection that exists."""
        ...

    def ensure_collection(self, name: str, dims: Mapping[VectorField, int]) -> EntityCollection:
        """Open a collection with vectors of these lengths; make it where there is none."""
        ...

    def drop_collection(self, name: str) -> None:
        """Drop a collection; no error where there is none."""
        ...

    @property
    def incidents(self) -> int:
        """How many times what was written may have been lost since this process began.

        Of a server it is not known, and 0.
        """
        ...

    def find_incidents(self) -> int:
        """Look whether there was another one; return `incidents`."""
        ...

    def reload(self) -> None:
        """Have an embedded file read anew; does nothing on a server."""
        ...

    def close(self) -> None:
        """Let go of Milvus; its open collections can be used no longer."""
        ...


class MilvusDatabase:
    """VectorDatabase on pymilvus, over Milvus Lite's embedded file or a Milvus server."""

    def __init__(
        self, place: Path | MilvusServer, address: str, options: MilvusOptions | None = None
    ) -> None:
        """Open the file, which this process then holds until `close`, or connect to the server.

        `address` is where this process can be reached; it is written into the file's lock file.

        Raises:
            VectorFileBusy: another process holds the file.
            StartError: the options or the file's name can't be used.
            VectorStoreUnavailable: Milvus Lite does not start, or the server does not answer.
        """
        self.options = options or MilvusOptions()
        self._is_embedded = isinstance(place, Path)
        if self._is_embedded:
            self.options.check_embedded()
        self.connection = MilvusConnection(place, address)

    def has_collection(self, name: str) -> bool:
        """See VectorDatabase."""
        return bool(self.connection.call("has_collection", name))

    def list_collections(self) -> list[str]:
        """See VectorDatabase."""
        return [str(name) for name in self.connection.call("list_collections")]

    def open_collection(self, name: str) -> MilvusCollection:
        """See VectorDatabase."""
        index_type = self._index_of(name, VectorField.text_bge) or ""  # all have the same
        return MilvusCollection(self.connection, self.options, name, index_type)

    def ensure_collection(self, name: str, dims: Mapping[VectorField, int]) -> MilvusCollection:
        """See VectorDatabase. Several processes may do this at the same time.

        Raises:
            StartError: Milvus refuses the settings of the index.
        """
        if not self.has_collection(name):
            self._create(name, dims)
        for field in [*dims, VectorField.text_bm25]:
            self._ensure_index(name, field)
        return self.open_collection(name)

    def drop_collection(self, name: str) -> None:
        """See VectorDatabase."""
        self.connection.call("drop_collection", name)

    @property
    def incidents(self) -> int:
        """See VectorDatabase."""
        return self.connection.incidents

    def find_incidents(self) -> int:
        """See VectorDatabase."""
        self.connection.client()  # which looks for one
        return self.incidents

    def reload(self) -> None:
        """See VectorDatabase."""
        self.connection.reload()

    def close(self) -> None:
        """See VectorDatabase."""
        self.connection.close()

    def _create(self, name: str, dims: Mapping[VectorField, int]) -> None:
        settings: dict[str, Any] = {"num_shards": self.options.shards}
        if self.options.mmap:
            settings["properties"] = {"mmap.enabled": True}
        schema = collection_schema(dims, self.options.partition_key)
        # Strong is also what `scan` goes by, whose reads can't name a level.
        settings |= {"schema": schema, "consistency_level": "Strong"}
        try:
            self.connection.call("create_collection", name, **settings)
        except VectorStoreUnavailable:
            if not self.has_collection(name):  # else another process was faster
                raise

    def _ensure_index(self, name: str, field: VectorField) -> None:
        """Make the index where there is none; warn where its type is not the chosen one."""
        wanted, metric, params = self._wanted_index(field)
        there = self._index_of(name, field)
        if there is None:
            index = MilvusClient.prepare_index_params()
            index.add_index(field.value, index_type=wanted, metric_type=metric, params=dict(params))
            try:
                # In an empty collection there is nothing to build that pymilvus could wait for.
                self.connection.call("create_index", name, index_params=index, sync=False)
            except VectorStoreUnavailable as error:
                if self._index_of(name, field) is None:  # else another process was faster
                    reason = getattr(error.__cause__, "message", error)
                    raise StartError(f"Milvus 不接受索引 {wanted} {params}：{reason}") from error
        elif there != wanted:
            log.warning(
                "%s of collection %s has the index %s, not %s: it is kept; a collection that is"
                " dropped is made anew, and filled, at the next start",
                field.value,
                name,
                there,
                wanted,
            )

    def _wanted_index(self, field: VectorField) -> tuple[str, str, Mapping[str, Any]]:
        if field is VectorField.text_bm25:
            return BM25
        wanted, params = self.options.index(embedded=self._is_embedded)
        return wanted, "COSINE", params

    def _index_of(self, name: str, field: VectorField) -> str | None:
        names = self.connection.call("list_indexes", name, field_name=field.value)
        if not names:
            return None
        return str(self.connection.call("describe_index", name, index_name=names[0])["index_type"])
