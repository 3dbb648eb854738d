"""A large catalog loaded, indexed, listed, searched, analysed: seconds and peak memory of each.

python -m benchmarks.hundred_thousand [--products 100000] [--database URL]

Without a URL on SQLite; a server's database must be empty, and is emptied at the end. Vectors are
in Milvus Lite's file. Titles are generated. Vectors, of queries too, are sampled: the starter's
own vectors of the sample catalog's titles and images, each with Gaussian noise of 0.7 of its
length, so that they lie in clusters as real ones do; encoding itself takes no part. Each product
has one of the sample's images. All else is the service's own code. Memory includes the models.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy.orm import Session

from benchmarks.databases import empty_database
from benchmarks.doctor_walk import walk
from data_models import MapField, ProductListQuery, SearchRequest, VectorField
from nlp_models import EncoderPair
from orm_models import Database
from product_search.bootstrap.assemble import open_search
from product_search.bootstrap.encoders import EncoderLoader
from product_search.catalog.products import Catalog
from product_search.catalog.rows import insert_product
from product_search.encoders.embeddings import Matrix
from product_search.images.store import ImageStore
from product_search.indexing.collections import LiveCollections
from product_search.indexing.indexer import Indexer
from product_search.indexing.startup import open_collections
from product_search.insights.audit import Auditor
from product_search.insights.catalog_map import MapMaker, Maps
from product_search.runs import exclusive
from product_search.runs.executor import LEASE, Handler, RunContext, execute
from product_search.runs.queue import RunClaim, RunKind
from product_search.search.calibration import Calibration
from product_search.search.search import SearchService
from product_search.settings import ROOT, Settings
from tests.encoders import OnePair
from vector_db import MilvusDatabase

WRITTEN_AT_ONCE = 500
INDEXED_AT_ONCE = 1000
SEARCHES = 100
LISTS = 20
NOISE = 0.7
SAMPLE = ROOT / "sample_data"
_random = random.Random(1)
_noise = np.random.default_rng(1)


class Sampled:
    """An encoder of texts and images whose vectors are sampled near real ones."""

    def __init__(self, fingerprint: str, real: Matrix) -> None:
        """Sample near these real vectors, under the fingerprint of their encoder."""
        self.fingerprint = fingerprint
        self.dim = int(real.shape[1])
        self._real = real

    def _sample(self, items: Sequence[Any]) -> Matrix:
        near = self._real[_noise.integers(len(self._real), size=len(items))]
        away = _noise.normal(0, NOISE / self.dim**0.5, near.shape)
        vectors = near + away
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    encode_queries = encode_documents = encode_texts = encode_images = _sample


def _sampled_encoders(products: Sequence[dict[str, str]]) -> EncoderPair:
    real = EncoderLoader(Settings(_env_file=None, encoder="starter")).load_chosen()
    titles = [product["title"] for product in products]
    documents, texts = real.encode_products(titles, titles)
    pictures = []
    for product in products:
        if product["image_path"]:
            with Image.open(_image(product)) as picture:
                pictures.append(picture.convert("RGB"))
    both = np.concatenate([texts, real.image_text.encode_images(pictures)])
    text = Sampled(f"{real.text.fingerprint}:sampled", documents)
    image_text = Sampled(f"{real.image_text.fingerprint}:sampled", both)
    return EncoderPair("sampled", text, image_text, "cpu")


def _peak_mb(process: str) -> float:
    status = Path(f"/proc/{process}/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) / 1024


def _milvus_lite() -> str:
    """Return the process id of the Milvus Lite that this process has started."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    (child,) = [one for one in children if "milvus" in Path(f"/proc/{one}/cmdline").read_text()]
    return child


@contextmanager
def _phase(name: str) -> Iterator[None]:
    """Time the phase, and measure its peak memory here and in Milvus Lite."""
    for process in ("self", _milvus_lite()):
        Path(f"/proc/{process}/clear_refs").write_text("5")  # forgets the peak so far
    begun = time.perf_counter()
    yield
    took = time.perf_counter() - begun
    here, milvus = _peak_mb("self"), _peak_mb(_milvus_lite())
    _say(f"{name}: {took:.1f} s; peak memory {here:.0f} MB, Milvus Lite {milvus:.0f} MB")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _columns(
    number: int, products: Sequence[dict[str, str]], pictures: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    product = _random.choice(products)
    return {
        "sku": f"G-{number}",
        "title": f"{product['title']} {_random.choice(products)['title']} 款号{number}",
        "category": product["category"] or None,
        "brand": f"品牌{_random.randrange(500)}",
        "price": Decimal(_random.randrange(100, 1_000_000)) / 100,
        **_random.choice(pictures),
    }


def _load(catalog: Catalog, count: int, products: Sequence[dict[str, str]]) -> None:
    kept = [_image(product).read_bytes() for product in products if product["image_path"]]
    pictures = [catalog.keep_image(content) for content in kept]
    for start in range(0, count, WRITTEN_AT_ONCE):
        numbers = range(start, min(start + WRITTEN_AT_ONCE, count))
        catalog.database.write(
            partial(_add, rows=[_columns(number, products, pictures) for number in numbers])
        )


def _add(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        insert_product(session, row)


def _image(product: dict[str, str]) -> Path:
    return SAMPLE / product["image_path"]


def _walk(catalog: Catalog) -> int:
    """Read all products, 100 a page, by the last id."""
    last = seen = 0
    while items := catalog.list(ProductListQuery(after_id=last, page_size=100)).items:
        last, seen = items[-1].product_id, seen + len(items)
    return seen


def _percentiles(name: str, run: Callable[[int], object], times: int) -> None:
    took = []
    for turn in range(times):
        begun = time.perf_counter()
        run(turn)
        took.append(1000 * (time.perf_counter() - begun))
    parts = statistics.quantiles(took, n=20)
    _say(f"  {name}: p50 {statistics.median(took):.1f} ms, p95 {parts[18]:.1f} ms")


def _list(catalog: Catalog, count: int) -> None:
    last_page = max(1, count // 20)
    for name, query in {
        "first page": ProductListQuery(),
        "page in the middle": ProductListQuery(page=max(1, last_page // 2)),
        "cheapest first, one brand": ProductListQuery(sort="price_asc", brand="品牌7"),
        "title part": ProductListQuery(q=f"款号{count // 2}"),
    }.items():
        _percentiles(name, partial(_one_page, catalog, query), LISTS)


def _one_page(catalog: Catalog, query: ProductListQuery, _turn: int) -> None:
    catalog.list(query)


def _search(search: SearchService) -> None:
    filters = {"brand": ["品牌7"], "price": {"lte": 5000}}
    for mode in ("text_to_text", "text_to_image"):
        for name, given in (("", {}), (", filtered to 0.1 %", {"filters": filters})):
            request = SearchRequest.model_validate({"mode": mode, "text": "书包", **given})
            _percentiles(f"{mode}{name}", partial(_one_search, search, request), SEARCHES)


def _one_search(search: SearchService, request: SearchRequest, _turn: int) -> None:
    search.search(request)


def _run(
    indexer: Indexer,
    vector_database: MilvusDatabase,
    count: int,
    products: Sequence[dict[str, str]],
    settings: Settings,
) -> None:
    catalog = Catalog(indexer.database, indexer.images)
    with _phase(f"write {count} products"):
        _load(catalog, count, products)
    with _phase("index them"):
        while indexer.apply_oldest(INDEXED_AT_ONCE):
            pass
    with _phase("walk the whole list"):
        assert _walk(catalog) == count == indexer.collections.active().entities.count()
    with _phase("list pages"):
        _list(catalog, count)
    with _phase("search"):
        _search(open_search(settings, indexer))
    with _phase("doctor"):
        walked = walk(indexer.database, vector_database, indexer.images, repair=False)
    _say(f"  {walked.products} products, {walked.entities} entities, {walked.left} drifted")
    _insights(indexer.database, vector_database)


def _insights(database: Database, vector_database: MilvusDatabase) -> None:
    """Time the audit, and a map drawn and given."""
    auditor = Auditor(database, vector_database, lambda name: Calibration(fingerprint=name))
    with _phase("audit"):
        claimed = exclusive.start(database, RunKind.audit, {}, LEASE)
        _carry_out(database, claimed, auditor.handle)
    field: MapField = VectorField.image_clip
    with _phase("map"):
        claimed = exclusive.start(database, RunKind.map, {"field": field}, LEASE)
        _carry_out(database, claimed, MapMaker(database, vector_database).handle)
    maps = Maps(database, on_enqueued=lambda: None)
    _percentiles("the map that is kept", lambda _turn: maps.get(field), LISTS)


def _carry_out(database: Database, claimed: RunClaim, handler: Handler) -> None:
    execute(RunContext(database, claimed, threading.Event()), handler)


def main() -> None:
    """Run phase after phase on one database and one Milvus Lite file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--database", help="SQLAlchemy URL of an empty database")
    options = parser.parse_args()
    with (SAMPLE / "catalog.csv").open(encoding="utf-8") as stream:
        products = list(csv.DictReader(stream))
    encoders = _sampled_encoders(products)
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        url = options.database or f"sqlite:///{folder / 'catalog.sqlite3'}"
        vector_database = MilvusDatabase(folder / "milvus.db", "benchmark")
        with closing(vector_database), empty_database(url) as database:
            collections = LiveCollections(database, vector_database, OnePair(encoders))
            open_collections(collections, is_service=True, is_alone=True)
            indexer = Indexer(database, ImageStore(folder / "images"), collections)
            settings = Settings(_env_file=None, data_dir=folder)
            _run(indexer, vector_database, options.products, products, settings)


if __name__ == "__main__":
    main()
