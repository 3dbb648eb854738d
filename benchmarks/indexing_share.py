"""Rows indexed a second, as a share of what the encoders alone do with the same rows, in one run.

python -m benchmarks.indexing_share [DATABASE_URL]

Without a URL on SQLite; a server's database must be empty, and is emptied at the end. The rows
are those of the sample catalog that have an image (256 pixels wide), each image once more in
every round, saved anew so that its bytes differ. The two take turns: the encoders over titles and
decoded images, in the indexer's batches; then the indexer itself over as many new products, from
the outbox to Milvus Lite's file and back. Both use all the cores.
"""

from __future__ import annotations

import csv
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from PIL import Image

from benchmarks.databases import empty_database
from nlp_models import EncoderPair
from product_search.bootstrap.encoders import EncoderLoader
from product_search.catalog.products import Catalog
from product_search.catalog.rows import insert_product
from product_search.images.decoding import decode
from product_search.images.store import ImageStore
from product_search.indexing.collections import LiveCollections
from product_search.indexing.indexer import Indexer
from product_search.indexing.startup import open_collections
from product_search.settings import ROOT, Settings
from vector_db import MilvusDatabase

ROWS = 256
ROUNDS = 5
SAMPLE = ROOT / "sample_data"
Row = tuple[str, bytes]


def _rows(round_: int) -> list[Row]:
    """Return titles and images, new to the image store in each round."""
    with (SAMPLE / "catalog.csv").open(encoding="utf-8") as stream:
        products = [row for row in csv.DictReader(stream) if row["image_path"]][:ROWS]
    rows = []
    for product in products:
        with Image.open(SAMPLE / product["image_path"]) as picture:
            again = io.BytesIO()
            picture.convert("RGB").save(again, "WEBP", quality=80 + round_)
        rows.append((f"{product['title']} {round_}", again.getvalue()))
    return rows


def _encode(encoders: EncoderPair, rows: Sequence[Row], batch_size: int) -> float:
    """Return the rows a second of the encoders alone."""
    pictures = [decode(content) for _, content in rows]
    begun = time.perf_counter()
    for start in range(0, len(rows), batch_size):
        part = slice(start, start + batch_size)
        titles = [title for title, _ in rows[part]]
        encoders.encode_products(titles, titles)
        encoders.image_text.encode_images(pictures[part])
    return len(rows) / (time.perf_counter() - begun)


def _index(indexer: Indexer, rows: Sequence[Row], batch_size: int) -> float:
    """Return the rows a second from outbox to entity; writing the products is not timed."""
    catalog = Catalog(indexer.database, indexer.images)
    columns = [{"title": title, **catalog.keep_image(kept)} for title, kept in rows]
    indexer.database.write(lambda session: [insert_product(session, row) for row in columns])
    begun = time.perf_counter()
    while indexer.apply_oldest(batch_size):
        pass
    return len(rows) / (time.perf_counter() - begun)


def main() -> None:
    """Measure both in turn, after a round that warms them up."""
    settings = Settings(_env_file=None, encoder="starter")
    folders = EncoderLoader(settings)
    encoders, batch_size = folders.load_chosen(), settings.index_batch_size
    alone, indexed = [], []
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder / 'catalog.sqlite3'}"
        vector_database = MilvusDatabase(folder / "milvus.db", "benchmark")
        with closing(vector_database), empty_database(url) as database:
            collections = LiveCollections(database, vector_database, folders)
            open_collections(collections, is_service=True, is_alone=True)
            indexer = Indexer(database, ImageStore(folder), collections)
            for round_ in range(ROUNDS + 1):
                rows = _rows(round_)
                alone.append(_encode(encoders, rows, batch_size))
                indexed.append(_index(indexer, rows, batch_size))
    shares = [one / other for one, other in zip(indexed[1:], alone[1:], strict=True)]
    sys.stdout.write(
        f"{encoders.name} on {encoders.device}, batches of {batch_size}:"
        f" the encoders alone {statistics.median(alone[1:]):.0f} rows/s,"
        f" indexing {statistics.median(indexed[1:]):.0f} rows/s;"
        f" share {statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})\n"
    )


if __name__ == "__main__":
    main()
