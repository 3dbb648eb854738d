"""Judged queries through the real retrieval: rankings by mode, over a catalog."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from data_models import SearchRequest, SearchResponse
from orm_models import Database, Product
from product_search.bootstrap.assemble import Resources, open_resources
from product_search.bulk.importer import import_file
from product_search.evaluation.measures.ranking import DEPTH
from product_search.evaluation.sets.queries import Asked, Way
from product_search.outbox import counts
from product_search.search.search import SearchService
from product_search.settings import Settings

ADDRESS = "evaluation"
POLL_S = 0.1


@contextmanager
def open_catalog(
    settings: Settings, file: Path | None, pictures: Path | None = None
) -> Iterator[Resources]:
    """The catalog of the settings, or that of an import file, in a folder of its own.

    Its images lie in `pictures`, by default beside it.

    Raises as open_resources and import_file.
    """
    if file is None:
        with open_resources(settings, ADDRESS) as resources:
            yield resources
        return
    with tempfile.TemporaryDirectory() as folder:
        own = {"data_dir": Path(folder), "database_url": None, "milvus_uri": None}
        with open_resources(settings.model_copy(update=own), ADDRESS) as resources:
            import_file(resources.catalog, file, pictures or file.parent, lambda _counts: None)
            wait_until_indexed(resources)
            yield resources


def wait_until_indexed(resources: Resources) -> None:
    """Until no product waits any more."""
    while resources.database.read(counts.count_pending):
        time.sleep(POLL_S)


def ask(retrieval: SearchService, asked: Asked, way: Way, **more: Any) -> SearchResponse:
    """One query by the real retrieval, the best DEPTH products whatever their confidence."""
    fields = {"top_k": DEPTH, "min_confidence": 0, **asked.fields, **way, **more}
    context = {"upload": asked.content is not None}
    request = SearchRequest.model_validate(fields, context=context)
    return retrieval.search(request, asked.content)


def run(retrieval: SearchService, questions: Mapping[str, Asked], way: Way) -> dict[str, list[str]]:
    """The skus of the hits of every query, best first; a product without one is left out."""
    return {qid: skus(ask(retrieval, asked, way)) for qid, asked in questions.items()}


def skus(answer: SearchResponse) -> list[str]:
    """Of the hits that have one, best first."""
    return [hit.product.sku for hit in answer.hits if hit.product.sku is not None]


def product_ids(database: Database) -> dict[str, int]:
    """By sku."""
    known = select(Product.sku, Product.id)
    found = database.read(lambda session: session.execute(known).all())
    return {sku: product_id for sku, product_id in found if sku is not None}
