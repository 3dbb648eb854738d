"""The Milvus room: entities in one collection per encoder fingerprint, behind a Protocol."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, Protocol

import grpc
import numpy as np
from pymilvus import MilvusClient, MilvusException
from pymilvus.exceptions import ErrorCode

from data_models import Hit, SearchFilters, VectorField
from product_search.errors import StartError, VectorStoreUnavailable
from product_search.milvus.milvus_lite import (
    NOT_AVAILABLE,
    FileLock as FileLock,
    MilvusLiteFile,
    VectorFileBusy as VectorFileBusy,
)
from product_search.milvus.options import (
    MilvusOptions as MilvusOptions,
    MilvusServer as MilvusServer,
)
from product_search.milvus.schema import (
    BM25,
    DELETE_KEYS,
    STATE_FIELDS,
    TERMS,
    Entity as Entity,
    EntityState as EntityState,
    Vector as Vector,
    collection_name as collection_name,
    collection_schema,
    entity_row,
    entity_state,
    filter_expression,
    messages,
)
from product_search.milvus.store import VectorStore as VectorStore

log = logging.getLogger(__name__)
# Its stack traces repeat what is raised to us as VectorStoreUnavailable.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)

MAX_LIMIT = 16_384
VECTORS_AT_ONCE = 1000  # some 2 MB in one answer
TIMEOUT_S = 30.0
LOAD_TIMEOUT_S = 600.0  # of a large collection, at the start
PING_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 10.0
_GONE = "Milvus 里没有要用的集合：若是被删除的，请重启服务，它会新建在用的集合并重新索引"


class MilvusLink(Protocol):
    """What a MilvusStore reaches Milvus by."""

    def client(self) -> tuple[MilvusClient, int]:
        """The client, and how many times Milvus has been started: then it has nothing loaded."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class ServerLink:
    """A Milvus server, which anybody may use at the same time."""

    def __init__(self, server: MilvusServer) -> None:
        """Connect. Raises VectorStoreUnavailable where the server does not answer."""
        try:
            self._client = MilvusClient(
                uri=server.uri, token=server.token, timeout=CONNECT_TIMEOUT_S, dedicated=True
            )
        except (MilvusException, grpc.RpcError) as error:
            hint = "请检查地址、令牌与网络"
            raise VectorStoreUnavailable(f"无法连接 Milvus 服务器 {server.uri}：{hint}") from error

    def client(self) -> tuple[MilvusClient, int]:
        """See MilvusLink."""
        return self._client, 1

    def close(self) -> None:
        """See MilvusLink."""
        self._client.close()


class MilvusStore:
    """VectorStore on pymilvus, over Milvus Lite's embedded file or a Milvus server."""

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
        self._options = options or MilvusOptions()
        self._embedded = isinstance(place, Path)
        self._link = _linked(place, address, self._options)
        self._collection = ""
        self._index_type = ""
        self._loaded_in = 0  # the start of Milvus in which the collection was loaded

    def has_collection(self, name: str) -> bool:
        """See VectorStore."""
        return bool(self._call("has_collection", name))

    def beside(self) -> MilvusStore:
        """See VectorStore."""
        other = copy(self)
        other._collection, other._index_type, other._loaded_in = "", "", 0
        return other

    def open_collection(self, name: str, dims: dict[VectorField, int]) -> None:
        """See VectorStore. Several processes may do this at the same time.

        Raises:
            StartError: Milvus refuses the settings of the index.
        """
        self._collection = ""
        if not self.has_collection(name):
            self._create(name, dims)
        for field in dims:
            self._ensure_index(name, field)
        self._ensure_index(name, VectorField.text_bm25)
        self._index_type = self._index_of(name, VectorField.text_bge) or ""  # all have the same
        self._load(name)
        self._collection = name

    def _create(self, name: str, dims: dict[VectorField, int]) -> None:
        settings: dict[str, Any] = {"num_shards": self._options.shards}
        if self._options.mmap:
            settings["properties"] = {"mmap.enabled": True}
        schema = collection_schema(dims, self._options.partition_key)
        # Strong is also what `scan` goes by, whose reads can't name a level.
        settings |= {"schema": schema, "consistency_level": "Strong"}
        try:
            self._call("create_collection", name, **settings)
        except VectorStoreUnavailable:
            if not self.has_collection(name):  # else another process was faster
                raise

    def _ensure_index(self, name: str, field: VectorField) -> None:
        """Make the index where there is none, or say that another one than chosen is there."""
        wanted, metric, params = self._wanted_index(field)
        there = self._index_of(name, field)
        if there is None:
            index = MilvusClient.prepare_index_params()
            index.add_index(field.value, index_type=wanted, metric_type=metric, params=dict(params))
            try:
                # In an empty collection there is nothing to build that pymilvus could wait for.
                self._call("create_index", name, index_params=index, sync=False)
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
        wanted, params = self._options.index(embedded=self._embedded)
        return wanted, "COSINE", params

    def _index_of(self, name: str, field: VectorField) -> str | None:
        names = self._call("list_indexes", name, field_name=field.value)
        if not names:
            return None
        return str(self._call("describe_index", name, index_name=names[0])["index_type"])

    def _load(self, name: str, timeout_s: float = LOAD_TIMEOUT_S) -> None:
        client, start = self._link.client()
        with _translated("load_collection"):
            # A file that is opened again, and some servers, have their collections unloaded.
            client.load_collection(name, replica_number=self._options.replicas, timeout=timeout_s)
        self._loaded_in = start

    def drop_collection(self, name: str) -> None:
        """See VectorStore."""
        self._call("drop_collection", name)

    def collections(self) -> list[str]:
        """See VectorStore."""
        return [str(name) for name in self._call("list_collections")]

    def view(self, name: str) -> MilvusStore:
        """See VectorStore."""
        other = self.beside()
        other._index_type = self._index_of(name, VectorField.text_bge) or ""
        other._load(name)
        other._collection = name
        return other

    def upsert(self, entities: Sequence[Entity]) -> None:
        """See VectorStore."""
        rows = [entity_row(entity, self._collection) for entity in entities]
        for part in messages(rows):
            self._call("upsert", self._collection, data=part)

    def delete(self, milvus_ids: Sequence[int]) -> None:
        """See VectorStore."""
        for start in range(0, len(milvus_ids), DELETE_KEYS):
            part = list(milvus_ids[start : start + DELETE_KEYS])
            self._call("delete", self._collection, ids=part)

    def search(
        self,
        field: VectorField,
        vector: Vector,
        limit: int,
        filters: SearchFilters,
        *,
        with_terms: bool = False,
    ) -> list[Hit]:
        """See VectorStore."""
        limit = min(limit, MAX_LIMIT)
        is_filtered = filters != SearchFilters()
        params = self._options.search(self._index_type, limit, is_filtered=is_filtered)
        found: list[list[dict[str, Any]]] = self._call(
            "search",
            self._collection,
            data=[vector.tolist()],
            anns_field=field.value,
            limit=limit,
            filter=filter_expression(filters, image_leg=field is VectorField.image_clip),
            search_params={"metric_type": "COSINE", "params": params},
            output_fields=[TERMS] if with_terms else [],
            consistency_level=self._options.consistency,
        )
        return [
            Hit(int(hit["id"]), _score(hit["distance"]), field, hit["entity"].get(TERMS, ""))
            for hit in found[0]
        ]

    def search_text(
        self,
        terms: str,
        limit: int,
        filters: SearchFilters,
        *,
        only: Sequence[int] | None = None,
    ) -> list[Hit]:
        """See VectorStore."""
        field = VectorField.text_bm25
        conditions = [filter_expression(filters, image_leg=False)]
        if only is not None:
            conditions.append(f"primary_key in {list(only)}")
        try:
            found: list[list[dict[str, Any]]] = self._call(
                "search",
                self._collection,
                data=[terms],
                anns_field=field.value,
                limit=min(limit, MAX_LIMIT),
                filter=" and ".join(filter(None, conditions)),
                search_params={"metric_type": BM25[1]},
                output_fields=[TERMS],
                consistency_level=self._options.consistency,
            )
        except VectorStoreUnavailable:
            if self.count():  # Milvus Lite has no statistics of terms before the first entity
                raise
            return []
        return [
            Hit(int(hit["id"]), round(float(hit["distance"]), 6), field, hit["entity"][TERMS])
            for hit in found[0]
        ]

    def count(self) -> int:
        """See VectorStore."""
        rows = self._call(
            "query",
            self._collection,
            filter="",
            output_fields=["count(*)"],
            consistency_level="Strong",
        )
        return int(rows[0]["count(*)"])

    def scan(self, after: int, limit: int) -> list[EntityState]:
        """See VectorStore."""
        limit = min(limit, MAX_LIMIT)
        rows = self._call(
            "query",
            self._collection,
            filter=f"primary_key > {after}",
            limit=limit,
            output_fields=STATE_FIELDS,
            # As pymilvus's own iterator asks: without them, not all Milvuses give the smallest.
            iterator="True",
            reduce_stop_for_best="True",
        )
        # A server with several shards gives the smallest of each: past the limit, keys are missing.
        states = sorted((entity_state(row) for row in rows), key=lambda state: state.milvus_id)
        return states[:limit]

    def states(self, milvus_ids: Sequence[int]) -> list[EntityState]:
        """See VectorStore."""
        rows = self._call(
            "query",
            self._collection,
            filter=f"primary_key in {list(milvus_ids)}",
            output_fields=STATE_FIELDS,
            consistency_level="Strong",
        )
        return [entity_state(row) for row in rows]

    def vectors(self, field: VectorField, milvus_ids: Sequence[int]) -> dict[int, Vector]:
        """See VectorStore."""
        found: dict[int, Vector] = {}
        for start in range(0, len(milvus_ids), VECTORS_AT_ONCE):
            part = list(milvus_ids[start : start + VECTORS_AT_ONCE])
            rows = self._call(
                "query",
                self._collection,
                filter=f"primary_key in {part}",
                output_fields=["primary_key", field.value],
                consistency_level=self._options.consistency,
            )
            for row in rows:
                vector = np.asarray(row[field.value], np.float32)
                if vector.any():  # zeros stand for none
                    found[int(row["primary_key"])] = vector
        return found

    def ping(self) -> None:
        """See VectorStore."""
        names = self._call("list_collections", _timeout=PING_TIMEOUT_S)
        if self._collection and self._collection not in names:
            raise VectorStoreUnavailable(_GONE)

    def close(self) -> None:
        """Let go of the server, or stop Milvus Lite and release its file."""
        self._link.close()

    def _call(self, method: str, *arguments: Any, _timeout: float = TIMEOUT_S, **named: Any) -> Any:
        """Ask Milvus; where it was started again since, the collection is loaded first."""
        client, start = self._link.client()
        if self._collection and self._loaded_in != start:
            self._load(self._collection, _timeout)
            client, _ = self._link.client()
        try:
            with _translated(method):
                return getattr(client, method)(*arguments, timeout=_timeout, **named)
        except VectorStoreUnavailable:
            self._loaded_in = 0  # a server that comes back may have to load it
            raise


def _linked(place: Path | MilvusServer, address: str, options: MilvusOptions) -> MilvusLink:
    if isinstance(place, MilvusServer):
        return ServerLink(place)
    options.check_embedded()
    return MilvusLiteFile(place, address)


def _score(cosine: float) -> float:
    """Without the last digits, in which equal vectors differ by the order of the sums."""
    return max(-1.0, min(1.0, round(float(cosine), 6)))


@contextmanager
def _translated(method: str) -> Iterator[None]:
    try:
        yield
    # ValueError: grpc's, of a channel that another thread has closed to start Milvus Lite again.
    except (MilvusException, grpc.RpcError, ValueError) as error:
        log.debug("Milvus %s: %s", method, error)
        is_gone = getattr(error, "code", None) == ErrorCode.COLLECTION_NOT_FOUND
        raise VectorStoreUnavailable(_GONE if is_gone else NOT_AVAILABLE) from error
