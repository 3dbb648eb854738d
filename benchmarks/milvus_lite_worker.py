"""One line of Milvus Lite for `milvus_lite_lines`, driven over standard input; pymilvus alone.

It needs nothing of the project, so that it runs in an environment that holds another line.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

warnings.simplefilter("ignore")  # milvus-lite 2.5.1 imports the deprecated pkg_resources

from pymilvus import DataType, MilvusClient  # noqa: E402  (after the filter)

logging.disable(logging.CRITICAL)
DIM = 512
FIELDS = ("image_clip_vector", "text_clip_vector", "text_bge_vector")
NAME = "product"
ONE_PERCENT = 'category == "c7"'  # one of a hundred


class Worker:
    """The catalog's collection in a file, and the steps that are measured on it."""

    def __init__(self, folder: Path, index: str, size: int) -> None:
        """Create the collection with this index, in a file in the folder."""
        self._path = folder / "milvus.db"
        self._index = index
        self._size = size
        self._random = np.random.default_rng(7)
        self._resident_before = _resident(os.getpid())
        self._centres = self._random.standard_normal((200, DIM)).astype(np.float32)
        self._client = MilvusClient(str(self._path))
        self._create()

    def _create(self) -> None:
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field("primary_key", DataType.INT64, is_primary=True)
        index = self._client.prepare_index_params()
        params = {"M": 16, "efConstruction": 200} if self._index == "HNSW" else {}
        for field in FIELDS:
            schema.add_field(field, DataType.FLOAT_VECTOR, dim=DIM)
            index.add_index(field, index_type=self._index, metric_type="COSINE", params=params)
        schema.add_field("title", DataType.VARCHAR, max_length=2000)
        schema.add_field("category", DataType.VARCHAR, max_length=400)
        schema.add_field("price", DataType.INT64)
        schema.add_field("has_image", DataType.BOOL)
        self._client.create_collection(
            NAME, schema=schema, index_params=index, consistency_level="Strong"
        )
        self._client.load_collection(NAME)

    def _vector(self) -> Any:
        """Sample near one of the centres, as products of one kind are near each other."""
        vector = self._centres[self._random.integers(len(self._centres))]
        vector = vector + self._random.standard_normal(DIM).astype(np.float32)
        return vector / np.linalg.norm(vector)

    def _row(self, key: int) -> dict[str, Any]:
        return {field: self._vector() for field in FIELDS} | {
            "primary_key": key * 2**22,
            "title": f"红色双肩包 {key}",
            "category": f"c{key % 100}",
            "price": key,
            "has_image": True,
        }

    def _upsert(self, keys: range) -> float:
        rows = [self._row(key) for key in keys]
        return _ms(lambda: self._client.upsert(NAME, rows))

    def fill(self) -> Iterator[tuple[str, float]]:
        """Insert the entities in batches as large as an import's."""
        start = time.perf_counter()
        spent = sum(
            self._upsert(range(first, min(first + 1000, self._size)))
            for first in range(0, self._size, 1000)
        )
        yield "fill in batches of 1000: entities/s", 1000 * self._size / spent
        yield "fill, with making the rows, s", time.perf_counter() - start

    def batches(self) -> Iterator[tuple[str, float]]:
        """Upsert products that are there, as an import that changes them."""
        for batch in (32, 256):
            times = [self._upsert(range(i * batch, (i + 1) * batch)) for i in range(3)]
            yield f"upsert of {batch}: ms", statistics.median(times)

    def singles(self) -> Iterator[tuple[str, float]]:
        """Change one product at a time; then search."""
        times = [self._upsert(range(key, key + 1)) for key in range(30)]
        yield "single upsert: p50 ms", statistics.median(times)
        yield "search just after writes: ms", self._search(FIELDS[0], "")

    def _search(self, field: str, condition: str) -> float:
        params = {"ef": 64} if self._index == "HNSW" else {}
        query = [self._vector()]
        return _ms(
            lambda: self._client.search(
                NAME,
                query,
                anns_field=field,
                limit=64,
                filter=condition,
                search_params={"metric_type": "COSINE", "params": params},
                consistency_level="Strong",
            )
        )

    def searches(self) -> Iterator[tuple[str, float]]:
        """Search for 64 hits in each field, as the service recalls for a page."""
        for condition, said in (("", ""), (ONE_PERCENT, " with a 1 % filter")):
            times = [self._search(field, condition) for field in FIELDS for _ in range(12)]
            yield f"search{said}: p50 ms", statistics.median(times)
            yield f"search{said}: worst ms", max(times)

    def count(self) -> Iterator[tuple[str, float]]:
        """Count as health and the doctor do."""
        yield "count: ms", statistics.median(_ms(self._count) for _ in range(5))

    def _count(self) -> int:
        rows = self._client.query(NAME, "", ["count(*)"], consistency_level="Strong")
        return int(rows[0]["count(*)"])

    def scan(self) -> Iterator[tuple[str, float]]:
        """Read all entities as the doctor does, a thousand at a time."""
        yield "scan of all: entities/s", 1000 * self._size / _ms(self._walk)

    def _walk(self) -> None:
        last, seen = -1, 0
        while True:
            rows = self._client.query(
                NAME,
                f"primary_key > {last}",
                ["primary_key", "price"],
                limit=1000,
                iterator="True",
                reduce_stop_for_best="True",
            )
            if not rows:
                break
            last, seen = rows[-1]["primary_key"], seen + len(rows)
        assert seen == self._size, (seen, self._size)

    def deletes(self) -> Iterator[tuple[str, float]]:
        """Delete one by one, and count what is left."""
        keys = [key * 2**22 for key in range(20)]
        times = [_ms(partial(self._client.delete, NAME, ids=[key])) for key in keys]
        yield "single delete: p50 ms", statistics.median(times)
        assert self._count() == self._size - len(keys)

    def reopen(self) -> Iterator[tuple[str, float]]:
        """Time a new process on the file until its first answer."""
        from milvus_lite.server_manager import server_manager_instance

        self._client.close()
        server_manager_instance.release_server(str(self._path))

        def start() -> None:
            self._client = MilvusClient(str(self._path), dedicated=True)
            self._client.load_collection(NAME)
            self._search(FIELDS[0], "")

        yield "reopen, to the first answer: ms", _ms(start)
        yield (
            "search after it: p50 ms",
            statistics.median(self._search(field, "") for field in FIELDS for _ in range(5)),
        )

    def weight(self) -> Iterator[tuple[str, float]]:
        """Measure resident memory, of children too, beyond the client's; and the file's size."""
        resident = sum(_resident(pid) for pid in [os.getpid(), *_children()])
        yield "memory: MB", (resident - self._resident_before) / 1e6
        files = (path for path in self._path.parent.rglob("*") if path.is_file())
        yield "disk: MB", sum(path.stat().st_size for path in files) / 1e6


def _ms(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def _children() -> list[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _answer(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Print the line's version, then each step's figures as steps are named."""
    folder, index, size = sys.argv[1:]
    worker = Worker(Path(folder), index, int(size))
    _answer(importlib.metadata.version("milvus-lite"))
    for name in sys.stdin:
        _answer(json.dumps(dict(getattr(worker, name.strip())())))


if __name__ == "__main__":
    main()
