"""The Milvus room: entities in one collection per encoder fingerprint, behind a Protocol."""

from __future__ import annotations

import fcntl
import logging
import os
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient, MilvusException

from data_models import Hit, PriceRange, SearchFilters, VectorField
from product_search.errors import StartError, VectorStoreUnavailable

# Its stack traces repeat what is raised to us as VectorStoreUnavailable.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)

# Raised when the schema below changes: a new version is a new collection, filled afresh.
SCHEMA_VERSION = 1
MAX_LIMIT = 16_384
TIMEOUT_S = 30.0
LOCK_PATIENCE_S = 0.5
_NO_PRICE = -1
Vector = NDArray[np.float32]
Result = TypeVar("Result")


class VectorFileBusy(StartError):
    """Another process holds the embedded Milvus file; `holder` is what its lock file says."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} 正由另一个进程使用（{holder}）：Milvus Lite 一次只容一个进程")
        self.holder = holder


@dataclass(frozen=True)
class Entity:
    """What Milvus holds of a product: three vectors, and the scalars that filters read."""

    milvus_id: int
    product_id: int
    revision: int
    title: str
    category: str | None
    brand: str | None
    price: Decimal | None
    image_path: str | None
    image_clip_vector: Vector | None
    text_clip_vector: Vector
    text_bge_vector: Vector


class VectorStore(Protocol):
    """Vectors by Milvus primary key, in one open collection.

    Every method raises VectorStoreUnavailable where Milvus does not answer.
    """

    def has_collection(self, name: str) -> bool:
        """Whether the collection exists."""
        ...

    def open_collection(self, name: str, dims: dict[VectorField, int]) -> None:
        """Open the collection that later calls use; it is made where there is none."""
        ...

    def drop_collection(self, name: str) -> None:
        """Drop a collection; no error where there is none."""
        ...

    def upsert(self, entities: Sequence[Entity]) -> None:
        """Write each entity whole, replacing what its primary key held."""
        ...

    def delete(self, milvus_ids: Sequence[int]) -> None:
        """Remove entities; no error for those that are not there."""
        ...

    def search(
        self, field: VectorField, vector: Vector, limit: int, filters: SearchFilters
    ) -> list[Hit]:
        """The nearest entities that pass the filters, best first; score is the cosine."""
        ...

    def count(self) -> int:
        """How many entities the collection holds."""
        ...

    def ping(self) -> None:
        """Raise where Milvus does not answer."""
        ...

    def close(self) -> None:
        """Let go of Milvus."""
        ...


class FileLock:
    """One process per embedded Milvus file; the lock file says who and where it serves."""

    def __init__(self, milvus_path: Path) -> None:
        self._milvus_path = milvus_path
        self._path = milvus_path.with_name(milvus_path.name + ".owner")
        self._stream: IO[str] | None = None

    def acquire(self, address: str) -> None:
        """Take the lock, and note our address and process in it, or raise VectorFileBusy."""
        stream = self._path.open("a+", encoding="utf-8")
        # `holder` of another process has it for a moment too: one refusal says nothing.
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while not _flock(stream, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                stream.seek(0)
                holder = stream.read()
                stream.close()
                raise VectorFileBusy(self._milvus_path, holder)
            time.sleep(0.05)
        stream.truncate(0)
        stream.write(f"{address} (pid {os.getpid()})")
        stream.flush()
        self._stream = stream

    def release(self) -> None:
        """Let another process take it."""
        if self._stream is not None:
            self._stream.truncate(0)
            self._stream.close()
            self._stream = None

    def holder(self) -> str | None:
        """What the process that holds the lock wrote into it; None where nobody holds it."""
        if not self._path.exists():
            return None
        with self._path.open(encoding="utf-8") as stream:
            return None if _flock(stream, fcntl.LOCK_SH) else stream.read()


def _flock(stream: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class MilvusStore:
    """VectorStore on pymilvus, over Milvus Lite's embedded file."""

    def __init__(self, path: Path, address: str) -> None:
        """Open the file, which this process then holds until `close`.

        `address` is where this process can be reached; it is written into the lock file.

        Raises:
            VectorFileBusy: another process holds the file.
            VectorStoreUnavailable: Milvus Lite does not start.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = FileLock(path)
        self._lock.acquire(address)
        try:
            self._client = _start_milvus_lite(path)
        except BaseException:  # Ctrl-C too must not leave the file locked
            self._lock.release()
            raise
        self._collection = ""

    def has_collection(self, name: str) -> bool:
        """See VectorStore."""
        with _translated():
            return bool(self._client.has_collection(name, timeout=TIMEOUT_S))

    def open_collection(self, name: str, dims: dict[VectorField, int]) -> None:
        """See VectorStore."""
        with _translated():
            if not self.has_collection(name):
                self._create(name, dims)
            # A reopened file holds its collections unloaded.
            self._client.load_collection(name, timeout=TIMEOUT_S)
        self._collection = name

    def _create(self, name: str, dims: dict[VectorField, int]) -> None:
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field("primary_key", DataType.INT64, is_primary=True)
        index = self._client.prepare_index_params()
        for field, dim in dims.items():
            schema.add_field(field, DataType.FLOAT_VECTOR, dim=dim)
            index.add_index(field, index_type="FLAT", metric_type="COSINE")
        # A server counts max_length in bytes: four for each character that the API allows.
        for text_field, size in (
            ("title", 2000),
            ("image_path", 200),
            ("category", 400),
            ("brand", 400),
            ("encoder_fingerprint", 64),
        ):
            schema.add_field(text_field, DataType.VARCHAR, max_length=size)
        for int_field in ("product_id", "revision", "price"):
            schema.add_field(int_field, DataType.INT64)
        schema.add_field("has_image", DataType.BOOL)
        self._client.create_collection(
            name, schema=schema, index_params=index, consistency_level="Strong", timeout=TIMEOUT_S
        )

    def drop_collection(self, name: str) -> None:
        """See VectorStore."""
        with _translated():
            self._client.drop_collection(name, timeout=TIMEOUT_S)

    def upsert(self, entities: Sequence[Entity]) -> None:
        """See VectorStore."""
        rows = [_row(entity, self._collection) for entity in entities]
        if rows:
            self._call(self._client.upsert, data=rows)

    def delete(self, milvus_ids: Sequence[int]) -> None:
        """See VectorStore."""
        if milvus_ids:
            self._call(self._client.delete, ids=list(milvus_ids))

    def search(
        self, field: VectorField, vector: Vector, limit: int, filters: SearchFilters
    ) -> list[Hit]:
        """See VectorStore."""
        found: list[list[dict[str, Any]]] = self._call(
            self._client.search,
            data=[vector.tolist()],
            anns_field=field,
            limit=min(limit, MAX_LIMIT),
            filter=filter_expression(filters, image_leg=field is VectorField.image_clip),
            search_params={"metric_type": "COSINE"},
            consistency_level="Strong",
        )
        return [Hit(int(hit["id"]), _score(hit["distance"]), field) for hit in found[0]]

    def count(self) -> int:
        """See VectorStore."""
        rows = self._call(
            self._client.query,
            filter="",
            output_fields=["count(*)"],
            consistency_level="Strong",
        )
        return int(rows[0]["count(*)"])

    def ping(self) -> None:
        """See VectorStore."""
        with _translated():
            self._client.list_collections(timeout=TIMEOUT_S)

    def close(self) -> None:
        """Stop Milvus Lite and release its file."""
        from milvus_lite.server_manager import server_manager_instance  # only for a file

        self._client.close()
        server_manager_instance.release_server(str(self._path))
        self._lock.release()

    def _call(self, method: Callable[..., Result], **arguments: Any) -> Result:
        with _translated():
            return method(self._collection, timeout=TIMEOUT_S, **arguments)


def collection_name(fingerprint: str) -> str:
    """The collection for this encoder pair and this schema."""
    return f"product_v{SCHEMA_VERSION}_{fingerprint}"


def filter_expression(filters: SearchFilters, *, image_leg: bool) -> str:
    """Milvus's boolean expression for the filters; "" where all entities pass."""
    parts = ["has_image == true"] if image_leg else []
    for field, values in (("category", filters.category), ("brand", filters.brand)):
        if values is not None:
            parts.append(f"{field} in [{', '.join(_quoted(value) for value in values)}]")
    if filters.price is not None:
        parts.append(_price_expression(filters.price))
    return " and ".join(parts)


def _score(cosine: float) -> float:
    """Without the last digits, in which equal vectors differ by the order of the sums."""
    return max(-1.0, min(1.0, round(float(cosine), 6)))


def _price_expression(prices: PriceRange) -> str:
    low = _cents(prices.gte) if prices.gte is not None else 0  # 0 leaves out _NO_PRICE
    high = f" and price <= {_cents(prices.lte)}" if prices.lte is not None else ""
    return f"price >= {low}{high}"


def _cents(price: Decimal) -> int:
    return int(price * 100)


def _scalar(value: str | None) -> str:
    r"""A string as the collection holds it: control characters and backslashes as \xNN.

    Milvus's expression grammar has no line breaks in string literals, and its releases differ in
    the escapes they know; a value without such characters is the same in all of them.
    """
    return "".join(
        f"\\x{ord(char):02x}" if char == "\\" or unicodedata.category(char) == "Cc" else char
        for char in value or ""
    )


def _quoted(value: str) -> str:
    escaped = _scalar(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _row(entity: Entity, collection: str) -> dict[str, Any]:
    image = entity.image_clip_vector
    # A missing vector can't be null in every Milvus: zeros, which has_image keeps out of answers.
    zeros = np.zeros_like(entity.text_clip_vector)
    vectors = {
        VectorField.image_clip.value: zeros if image is None else image,
        VectorField.text_clip.value: entity.text_clip_vector,
        VectorField.text_bge.value: entity.text_bge_vector,
    }
    for field, vector in vectors.items():
        if not np.isfinite(vector).all():
            raise ValueError(f"{field} of product {entity.product_id} is not finite")
    return {field: vector.tolist() for field, vector in vectors.items()} | {
        "primary_key": entity.milvus_id,
        "product_id": entity.product_id,
        "revision": entity.revision,
        "title": entity.title,
        "image_path": entity.image_path or "",
        "has_image": image is not None,
        "category": _scalar(entity.category),
        "brand": _scalar(entity.brand),
        "price": _NO_PRICE if entity.price is None else _cents(entity.price),
        "encoder_fingerprint": collection.rpartition("_")[2],
    }


def _start_milvus_lite(path: Path) -> MilvusClient:
    """Milvus Lite on the file.

    The server of a process that was killed gives the file up a moment after it: try for a while.
    """
    deadline = time.monotonic() + 10
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # milvus-lite imports the deprecated pkg_resources
                return MilvusClient(uri=str(path))
        except MilvusException as error:
            if time.monotonic() > deadline:
                hint = "文件可能已损坏；另外 Milvus Lite 需要环境变量 HOME"
                raise VectorStoreUnavailable(f"无法打开 Milvus 文件 {path}：{hint}") from error
            time.sleep(0.2)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (MilvusException, grpc.RpcError) as error:
        raise VectorStoreUnavailable("向量库暂时不可用，请稍后重试") from error
