"""Suggestions over a generated catalog: how long they take, and what keeping them costs.

`python -m benchmarks.suggest --products 100000`. Measured: the reading of the catalog, the memory
of the process that it leaves, and every prefix of typed words, pinyin and initials, one by one.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from sqlalchemy import insert
from sqlalchemy.orm import Session

from benchmarks.rig import words
from data_models import SuggestQuery
from orm_models import Database, Product
from product_search.bootstrap.migrate import migrate
from product_search.database.primary_keys import draw_primary_key
from product_search.suggestions.catalog_words import CatalogWords
from product_search.suggestions.popular_queries import MIN_SEARCHES, PopularQueries
from product_search.suggestions.suggester import Suggester
from product_search.text.phrases import pinyin, words_of

_SEED = 17
_QUERIES = 2000  # popular ones, and those that are typed
_BATCH = 5000


def main(products: Annotated[int, typer.Option(min=1)] = 100_000) -> None:
    """Measure, and print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'catalog.sqlite3'}")
        migrate(database)
        _fill(database, products)
        suggester = Suggester(CatalogWords(database), PopularQueries(database))
        queries = words.queries(_SEED, _QUERIES)
        _read(suggester, queries)
        _type(suggester, queries)
        database.close()


def _fill(database: Database, count: int) -> None:
    columns = ("title", "category", "brand")
    rows = [
        {column: product[column] or None for column in columns} | {"milvus_id": draw_primary_key()}
        for product in words.products(_SEED, count)
    ]

    def add(session: Session, some: list[dict[str, object]]) -> None:
        session.execute(insert(Product), some)

    for start in range(0, count, _BATCH):
        database.write(add, rows[start : start + _BATCH])


def _read(suggester: Suggester, queries: list[str]) -> None:
    before, begun, cpu = _memory_mb(), time.perf_counter(), time.thread_time()
    suggester.words.refresh()
    seconds, cpu_seconds = time.perf_counter() - begun, time.thread_time() - cpu
    grown = _memory_mb() - before
    _say(f"catalog read in {seconds:.1f} s, {cpu_seconds:.1f} s of a core; {grown:.0f} MB more")
    suggestions, latin = len(suggester.words.suggestions), len(suggester.words.vocabulary)
    _say(f"{suggestions} suggestions, {latin} Latin words")
    begun = time.thread_time()
    suggester.words.refresh()
    _say(f"nothing has changed: {1000 * (time.thread_time() - begun):.1f} ms")
    for _ in range(MIN_SEARCHES):
        for query in queries:
            suggester.popular.count(query)
        suggester.popular.write()
    suggester.popular.read()


def _type(suggester: Suggester, queries: list[str]) -> None:
    typed: set[str] = set()
    for query in queries:
        sounds = pinyin(words_of(query))
        for text in (query, sounds.whole, sounds.initials) if sounds else (query,):
            typed.update(text[:end] for end in range(1, len(text) + 1))
    texts = sorted(typed)
    random.Random(_SEED).shuffle(texts)
    times: dict[str, list[float]] = {"1 letter or character": [], "2 or more": []}
    for text in texts[:20_000]:
        asked = SuggestQuery(q=text)
        begun = time.perf_counter()
        suggester.suggest(asked)
        kind = "1 letter or character" if len(text) == 1 else "2 or more"
        times[kind].append(1000 * (time.perf_counter() - begun))
    for kind, spent in times.items():
        middle, most, worst = np.percentile(spent, [50, 95, 99])
        _say(f"{kind}: {len(spent)}, p50 {middle:.2f} ms, p95 {most:.2f} ms, p99 {worst:.2f} ms")


def _memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    typer.run(main)
