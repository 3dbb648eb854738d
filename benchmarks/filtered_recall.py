"""Recall@10 under filters against exact search, with a fixed search and with the product's own.

python -m benchmarks.filtered_recall [--uri http://HOST:PORT] [--index IVF_FLAT HNSW]

Without an address in a file of Milvus Lite, with one it must be a server where a collection
`filtered_recall` can be made; it is dropped before and after. It has one vector field alone, so
that Milvus 2.3 takes it too. Vectors, of queries too, lie between two of the starter's own of the
sample catalog's titles, nearer to one, with Gaussian noise of 0.7 of their length. Filters keep
products of all kinds alike (a category, and the same as an attribute and as an element of one), or
only those near to some titles (a price). A query's searches take turns, so that a busy moment of
the machine meets all.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient

from benchmarks.hundred_thousand import NOISE, SAMPLE
from data_models import SearchFilters
from product_search.bootstrap.encoders import EncoderLoader
from product_search.milvus.entities import filterable
from product_search.milvus.filters import filter_expression
from product_search.milvus.options import MilvusOptions
from product_search.settings import Settings

NAME = "filtered_recall"
FIELD = "text_bge_vector"
WRITTEN_AT_ONCE = 1000
QUERIES = 100
LIMIT = 64  # as the service recalls for a first page
TOP = 10
SHARES = {"0.1 %": 0.001, "1 %": 0.01, "10 %": 0.1, "50 %": 0.5}
# The least that an approximate index can do: where this finds all, it was searched exactly.
LEAST: dict[str, Mapping[str, int]] = {"IVF_FLAT": {"nprobe": 1}, "HNSW": {"ef": LIMIT}}

Vectors = NDArray[np.float32]
_random = np.random.default_rng(1)


@dataclass(frozen=True)
class Shop:
    """Products as the collection holds them, place by place."""

    vectors: Vectors
    labels: list[str]
    prices: NDArray[np.int64]

    def rows(self, start: int, end: int) -> list[dict[str, Any]]:
        """Return rows as Milvus takes them."""
        return [
            {
                "primary_key": place,
                FIELD: self.vectors[place],
                "category": self.labels[place],
                "price": int(self.prices[place]),
                "attributes": filterable({"档": self.labels[place], "标签": [self.labels[place]]}),
            }
            for place in range(start, min(end, len(self.labels)))
        ]


@dataclass
class Figures:
    """Recalls and milliseconds of one search."""

    recalls: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


def shop_of(count: int, real: Vectors) -> Shop:
    """Sample products: labels keep each share of them at random, prices part the titles."""
    vectors, titles = sample(count, real)
    labels = np.full(count, "其余", dtype=object)
    order, begun = _random.permutation(count), 0
    for label, share in SHARES.items():
        labels[order[begun : begun + round(share * count)]] = label
        begun += round(share * count)
    prices = np.empty(count, np.int64)
    prices[np.argsort(titles, kind="stable")] = np.arange(count)
    return Shop(vectors, list(labels), prices)


def sample(count: int, real: Vectors) -> tuple[Vectors, NDArray[np.int64]]:
    """Sample vectors of length 1, and the place of the title that each is nearer to."""
    near, other = _random.integers(len(real), size=(2, count))
    share = _random.uniform(0.5, 1, (count, 1))
    between = share * real[near] + (1 - share) * real[other]
    between /= np.linalg.norm(between, axis=1, keepdims=True)
    vectors = between + _random.normal(0, NOISE / real.shape[1] ** 0.5, between.shape)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, np.float32), near


def real_vectors() -> Vectors:
    """Embed the sample catalog's titles with the starter."""
    with (SAMPLE / "catalog.csv").open(encoding="utf-8") as stream:
        titles = [product["title"] for product in csv.DictReader(stream)]
    encoders = EncoderLoader(Settings(_env_file=None, encoder="starter")).load_chosen()
    return encoders.text.encode_documents(titles)


def filters_of(count: int) -> Iterator[tuple[str, SearchFilters]]:
    """Return the filters that are measured, by name; labels and prices as in `shop_of`."""
    yield "all", SearchFilters()
    for label, share in reversed(SHARES.items()):
        # Whole hundredths: the price of the last product that is kept.
        last = f"{(round(share * count) - 1) / 100:.2f}"
        yield f"{label}, category", SearchFilters.model_validate({"category": label})
        yield f"{label}, attribute", SearchFilters.model_validate({"attributes": {"档": label}})
        yield f"{label}, element", SearchFilters.model_validate({"attributes": {"标签": label}})
        yield f"{label}, clusters", SearchFilters.model_validate({"price": {"lte": last}})


def kept(shop: Shop, name: str) -> NDArray[np.bool_]:
    """Select the products that pass the filter of this name."""
    label, _, kind = name.partition(", ")
    if label == "all":
        return np.ones(len(shop.labels), bool)
    if kind == "clusters":
        return shop.prices < round(SHARES[label] * len(shop.labels))
    return np.array([one == label for one in shop.labels])


def fill(client: MilvusClient, shop: Shop, index_type: str) -> None:
    """Create a collection of the shop with this index, and load it."""
    client.drop_collection(NAME)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("primary_key", DataType.INT64, is_primary=True)
    schema.add_field(FIELD, DataType.FLOAT_VECTOR, dim=shop.vectors.shape[1])
    schema.add_field("category", DataType.VARCHAR, max_length=400)
    schema.add_field("price", DataType.INT64)
    schema.add_field("attributes", DataType.JSON)
    client.create_collection(NAME, schema=schema, consistency_level="Strong")
    for start in range(0, len(shop.labels), WRITTEN_AT_ONCE):
        client.insert(NAME, shop.rows(start, start + WRITTEN_AT_ONCE))
    client.flush(NAME)
    index = client.prepare_index_params()
    _, params = MilvusOptions(index_type).index(embedded=False)  # type: ignore[arg-type]
    index.add_index(FIELD, index_type=index_type, metric_type="COSINE", params=dict(params))
    client.create_index(NAME, index)
    client.load_collection(NAME)


def ways(index_type: str, filters: SearchFilters) -> dict[str, Mapping[str, Any]]:
    """Return the parameters of each search; the fixed one is the product's without a filter."""
    options = MilvusOptions()
    return {
        "least": LEAST[index_type],
        "fixed": options.search(index_type, LIMIT),
        "own": options.search(index_type, LIMIT, is_filtered=filters != SearchFilters()),
    }


def search(
    client: MilvusClient, query: Vectors, expression: str, params: Mapping[str, Any]
) -> list[int]:
    """Return the nearest products' places."""
    found = client.search(
        NAME,
        [query.tolist()],
        anns_field=FIELD,
        limit=LIMIT,
        filter=expression,
        search_params={"metric_type": "COSINE", "params": dict(params)},
        consistency_level="Eventually",  # Strong has a server wait for its next tick
    )
    return [int(hit["id"]) for hit in found[0]]


def measure(client: MilvusClient, shop: Shop, queries: Vectors, index_type: str) -> None:
    """Measure each filter, a row each: recall of each search, milliseconds, ratios to `fixed`."""
    _say(f"\n{index_type}, {len(shop.labels):,} products")
    _say("| kept | recall@10: least | fixed | own | ms fixed | own / fixed |")
    _say("|---" * 6 + "|")
    scores = queries @ shop.vectors.T
    for name, filters in filters_of(len(shop.labels)):
        passing = np.flatnonzero(kept(shop, name))
        expression = filter_expression(filters, image_leg=False)
        figures: dict[str, Figures] = {}
        for query, score in zip(queries, scores, strict=True):
            nearest = passing[np.argsort(-score[passing])[:TOP]]
            for way, params in ways(index_type, filters).items():
                begun = time.perf_counter()
                found = search(client, query, expression, params)
                spent = 1000 * (time.perf_counter() - begun)
                one = figures.setdefault(way, Figures())
                one.times.append(spent)
                one.recalls.append(len({*nearest.tolist()} & {*found[:TOP]}) / len(nearest))
        recalls = " | ".join(f"{statistics.fmean(one.recalls):.3f}" for one in figures.values())
        fixed, own = (statistics.median(figures[way].times) for way in ("fixed", "own"))
        _say(f"| {name} | {recalls} | {fixed:.1f} | {own / fixed:.2f} |")
        if name == "all" and min(figures["least"].recalls) == 1:
            _say("(searched exactly, whatever was asked for: this proves nothing about an index)")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Print a table for each index."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--uri", help="a Milvus server; without it a file of Milvus Lite")
    parser.add_argument("--index", nargs="+", choices=list(LEAST), default=["IVF_FLAT"])
    parser.add_argument("--products", type=int, default=50_000)
    options = parser.parse_args()
    real = real_vectors()
    shop = shop_of(options.products, real)
    queries, _ = sample(QUERIES, real)
    with tempfile.TemporaryDirectory() as folder:
        uri = options.uri or str(Path(folder) / "milvus.db")
        with closing(MilvusClient(uri, timeout=60)) as client:
            for index_type in options.index:
                fill(client, shop, index_type)
                measure(client, shop, queries, index_type)
            client.drop_collection(NAME)


if __name__ == "__main__":
    main()
