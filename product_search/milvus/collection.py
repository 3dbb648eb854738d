"""One loaded Milvus collection: its entities written, searched and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from product_search.errors import VectorStoreUnavailable
from product_search.milvus.connection import (
    COLLECTION_GONE,
    SEARCH_TIMEOUT_S,
    TIMEOUT_S,
    MilvusConnection,
)
from product_search.milvus.entities import (
    DELETE_KEYS,
    STATE_FIELDS,
    TERMS,
    Entity,
    EntityState,
    Vector,
    entity_row,
    entity_state,
    messages,
)
from product_search.milvus.hits import Hits
from product_search.milvus.options import MilvusOptions
from product_search.milvus.schema import BM25
from product_search.milvus.searches import (
    MAX_LIMIT,
    CallKind,
    EntitySearch,
    Found,
    FoundHits,
    NoHits,
    SearchQueue,
    TermSearch,
    VectorSearch,
    hits_or_raise,
)
from product_search.schemas.filters import SearchFilters
from product_search.schemas.search import VectorField

LOAD_TIMEOUT_S = 600.0  # of a large collection, at the start
PING_TIMEOUT_S = 5.0
VECTORS_AT_ONCE = 1000  # some 2 MB in one answer


class MilvusCollection:
    """An EntityCollection (see vector_db) on pymilvus; usable until the connection is closed."""

    def __init__(
        self, connection: MilvusConnection, options: MilvusOptions, name: str, index_type: str
    ) -> None:
        """Load the collection, whose dense vectors have an index of this type."""
        self.name = name
        self.index_type = index_type
        self._connection = connection
        self._options = options
        self._searches = SearchQueue(f"search {name}", self._search, connection.calls_at_once)
        self._loaded_in = 0  # the start of Milvus in which the collection was loaded
        self._load(LOAD_TIMEOUT_S)

    def upsert(self, entities: Sequence[Entity]) -> None:
        """See EntityCollection."""
        rows = [entity_row(entity, self.name) for entity in entities]
        for part in messages(rows):
            self._call("upsert", self.name, data=part)

    def delete(self, milvus_ids: Sequence[int]) -> None:
        """See EntityCollection."""
        for start in range(0, len(milvus_ids), DELETE_KEYS):
            part = list(milvus_ids[start : start + DELETE_KEYS])
            self._call("delete", self.name, ids=part)

    def search_all(self, searches: Sequence[EntitySearch]) -> list[Found]:
        """See EntityCollection."""
        return self._searches.run(searches)

    def search(
        self,
        field: VectorField,
        vector: Vector,
        limit: int,
        filters: SearchFilters,
        *,
        with_terms: bool = False,
    ) -> Hits:
        """See EntityCollection."""
        search = VectorSearch(field, vector, limit, filters, with_terms)
        return hits_or_raise(self.search_all([search])[0])

    def search_text(
        self,
        terms: str,
        limit: int,
        filters: SearchFilters,
        *,
        only: Sequence[int] | None = None,
    ) -> Hits:
        """See EntityCollection."""
        return hits_or_raise(self.search_all([TermSearch(terms, limit, filters, only)])[0])

    def count(self) -> int:
        """See EntityCollection."""
        rows = self._query("", ["count(*)"], consistency_level="Strong")
        return int(rows[0]["count(*)"])

    def scan(self, after: int, limit: int) -> list[EntityState]:
        """See EntityCollection."""
        limit = min(limit, MAX_LIMIT)
        rows = self._query(
            f"primary_key > {after}",
            STATE_FIELDS,
            limit=limit,
            # As pymilvus's own iterator asks: without them, not all Milvuses give the smallest.
            iterator="True",
            reduce_stop_for_best="True",
        )
        # A server with several shards gives the smallest of each: past the limit, keys are missing.
        states = sorted((entity_state(row) for row in rows), key=lambda state: state.milvus_id)
        return states[:limit]

    def states(self, milvus_ids: Sequence[int]) -> list[EntityState]:
        """See EntityCollection."""
        condition = f"primary_key in {list(milvus_ids)}"
        rows = self._query(condition, STATE_FIELDS, consistency_level="Strong")
        return [entity_state(row) for row in rows]

    def vectors(self, field: VectorField, milvus_ids: Sequence[int]) -> dict[int, Vector]:
        """See EntityCollection."""
        found: dict[int, Vector] = {}
        for start in range(0, len(milvus_ids), VECTORS_AT_ONCE):
            part = list(milvus_ids[start : start + VECTORS_AT_ONCE])
            rows = self._query(
                f"primary_key in {part}",
                ["primary_key", field.value],
                consistency_level=self._options.consistency,
            )
            for row in rows:
                vector = np.asarray(row[field.value], np.float32)
                if vector.any():  # zeros stand for a vector that is not there
                    found[int(row["primary_key"])] = vector
        return found

    def ping(self) -> None:
        """See EntityCollection."""
        if self.name not in self._call("list_collections", timeout=PING_TIMEOUT_S):
            raise VectorStoreUnavailable(COLLECTION_GONE)

    def _search(self, kind: CallKind, data: Sequence[list[float] | str]) -> Sequence[FoundHits]:
        """Search for all the data in one call."""
        try:
            return self._search_once(kind, data)
        except VectorStoreUnavailable:
            if kind.field is not VectorField.text_bm25:
                raise
        # Milvus Lite has no statistics of terms before the first entity, which may come just now.
        return self._search_once(kind, data) if self.count() else [NoHits()] * len(data)

    def _search_once(
        self, kind: CallKind, data: Sequence[list[float] | str]
    ) -> Sequence[FoundHits]:
        options = self._options
        params = options.search(self.index_type, kind.limit, is_filtered=kind.is_filtered)
        by_terms = {"metric_type": BM25[1]}
        is_text = kind.field is VectorField.text_bm25
        found: Sequence[FoundHits] = self._call(
            "search",
            self.name,
            data=list(data),
            anns_field=kind.field.value,
            limit=kind.limit,
            filter=kind.condition,
            search_params=by_terms if is_text else {"metric_type": "COSINE", "params": params},
            output_fields=[TERMS] if kind.with_terms else [],
            consistency_level=options.consistency,
            timeout=SEARCH_TIMEOUT_S,
        )
        return found

    def _query(self, condition: str, fields: Sequence[str], **named: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._call(
            "query", self.name, filter=condition, output_fields=list(fields), **named
        )
        return rows

    def _call(self, method: str, *arguments: Any, timeout: float = TIMEOUT_S, **named: Any) -> Any:
        """Call Milvus; where it was started again since, load the collection first."""
        _, start = self._connection.client()
        if self._loaded_in != start:
            self._load(timeout)
        try:
            return self._connection.call(method, *arguments, timeout=timeout, **named)
        except VectorStoreUnavailable:
            self._loaded_in = 0  # a server that comes back may have to load it
            raise

    def _load(self, timeout: float) -> None:
        _, start = self._connection.client()
        # A file that is opened again, and some servers, have their collections unloaded.
        replicas = self._options.replicas
        self._connection.call(
            "load_collection", self.name, replica_number=replicas, timeout=timeout
        )
        self._loaded_in = start
