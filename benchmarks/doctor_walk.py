"""How long a drift check takes and how much memory it needs, without drift and with some.

python -m benchmarks.doctor_walk [--products 100000]

Rows in SQLite, entities with random vectors in Milvus Lite and a small file for every product's
image, all in a temporary folder. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from data_models import DENSE_FIELDS, DriftRun, IndexStatus
from orm_models import Database, Product, VectorCollection
from product_search.bootstrap.migrate import open_schema
from product_search.database.primary_keys import PrimaryKeySource
from product_search.drift import reports
from product_search.drift.reconciler import Reconciler
from product_search.images.files.folder import FolderFiles
from product_search.images.store import ImageStore
from product_search.indexing.collections import Role
from product_search.milvus.entities import Entity, Vector
from product_search.milvus.schema import collection_name
from product_search.runs import exclusive
from product_search.runs.executor import LEASE, RunContext, execute
from product_search.runs.queue import RunKind
from vector_db import EntityCollection, MilvusDatabase, VectorDatabase

BATCH = 1000
DIM = 512
FINGERPRINT = "0123456789ab"
ONE_IN = 100  # entities that are lost, for the second walk


@dataclass(frozen=True)
class Shop:
    """A catalog with its stores."""

    database: Database
    vector_database: MilvusDatabase
    images: ImageStore

    @property
    def entities(self) -> EntityCollection:
        """Open the collection that is checked, and create it where there is none."""
        dims = dict.fromkeys(DENSE_FIELDS, DIM)
        return self.vector_database.ensure_collection(collection_name(FINGERPRINT), dims)

    def fill(self, products: int) -> list[int]:
        """Store products that are all indexed, and return their keys."""
        vectors = np.random.default_rng(0).standard_normal((BATCH, DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        name = collection_name(FINGERPRINT)
        active = VectorCollection(name=name, role=Role.active, encoder_fingerprint=FINGERPRINT)
        self.database.write(lambda session: session.add(active))
        entities = self.entities
        keys = PrimaryKeySource()
        drawn: list[int] = []
        for start in range(1, products + 1, BATCH):
            numbers = range(start, min(start + BATCH, products + 1))
            made = [_product(number, keys.draw(), self._image(number)) for number in numbers]
            entities.upsert([_entity(row, vectors[row.id % BATCH]) for row in made])
            drawn += [row.milvus_id for row in made]
            self.database.write(partial(Session.add_all, instances=made))
        return drawn

    def _image(self, number: int) -> str:
        content = str(number).encode()
        image_hash = hashlib.sha256(content).hexdigest()
        files = self.images.files
        assert isinstance(files, FolderFiles)
        path = files.path(image_hash)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return image_hash


def walk(
    database: Database, vector_database: VectorDatabase, images: ImageStore, *, repair: bool
) -> DriftRun:
    """Check the whole catalog."""
    claimed = exclusive.start(database, RunKind.doctor, {"repair": repair}, LEASE)
    doctor = Reconciler(database, vector_database, images)
    execute(RunContext(database, claimed, threading.Event()), doctor.handle)
    return database.read(reports.fetch_run, claimed.id)


def _product(number: int, key: int, image_hash: str) -> Product:
    return Product(
        id=number,
        milvus_id=key,
        title=f"商品 {number} 双肩包",
        description="防泼水面料，可放笔记本电脑。" * 10,
        image_hash=image_hash,
        index_status=IndexStatus.indexed,
        revision=1,
        created_at=datetime.now(UTC),
    )


def _entity(row: Product, vector: Vector) -> Entity:
    return Entity(
        milvus_id=row.milvus_id,
        product_id=row.id,
        revision=1,
        title=row.title,
        search_text=row.title,
        category=None,
        brand=None,
        price=None,
        attributes={},
        created_at=row.created_at,
        image_path=row.image_hash,
        image_clip_vector=vector,
        text_clip_vector=vector,
        text_bge_vector=vector,
    )


def _peak_mb() -> float:
    """Return this process's largest memory since `_forget_peak`."""
    (line,) = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) / 1024


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _measure(what: str, shop: Shop, *, repair: bool) -> None:
    gc.collect()
    _forget_peak()
    before = _peak_mb()
    start = time.perf_counter()
    walked = walk(shop.database, shop.vector_database, shop.images, repair=repair)
    seconds = time.perf_counter() - start
    found = {str(kind): count for kind, count in walked.found.items() if count}
    sys.stdout.write(
        f"{what}: {seconds:.1f} s, {walked.products / seconds:,.0f} products a second,"
        f" {_peak_mb() - before:.0f} MB above {before:.0f}; found {found}, left {walked.left}\n"
    )


def main() -> None:
    """Check stores without drift, then check and repair them with some and with much."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--products", type=int, default=100_000)
    products: int = parser.parse_args().products
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        where = Path(folder)
        database = Database(f"sqlite:///{where / 'catalog.sqlite3'}")
        stack.callback(database.close)
        open_schema(database)
        vector_database = MilvusDatabase(where / "milvus.db", "benchmark")
        stack.callback(vector_database.close)
        shop = Shop(database, vector_database, ImageStore(where / "images"))
        keys = shop.fill(products)
        sys.stdout.write(f"{products:,} products, each with a picture\n")
        _measure("in step", shop, repair=False)
        shop.entities.delete(keys[::ONE_IN])
        _measure("1 % missing", shop, repair=False)
        _measure("1 % missing, repaired", shop, repair=True)
        shop.entities.delete(keys)
        _measure("all missing, repaired", shop, repair=True)


if __name__ == "__main__":
    main()
