"""Query sets through the real search, over the catalog of the settings or of an import file."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import SearchRequest, SearchResponse
from orm_models import Database, Product
from product_search.bootstrap.assemble import Resources, open_resources
from product_search.bulk.importer import import_file
from product_search.evaluation.measures.ranking import DEPTH
from product_search.evaluation.sets.queries import Mode, Query
from product_search.outbox import counts
from product_search.search.search import SearchService
from product_search.settings import Settings

ADDRESS = "evaluation"
POLL_S = 0.1


@contextmanager
def open_catalog(
    settings: Settings, file: Path | None, images: Path | None = None
) -> Iterator[Resources]:
    """Open the catalog of the settings, or import a file into a temporary one and wait for it.

    Args:
        settings: the encoders, and the catalog where `file` is None.
        file: an import file.
        images: the folder of the file's images; by default the file's own.

    Raises as open_resources and import_file.
    """
    if file is None:
        with open_resources(settings, ADDRESS) as resources:
            resources.search.words.refresh()
            yield resources
        return
    with tempfile.TemporaryDirectory() as folder:
        stores = ("database_url", "milvus_uri", "images_url")
        own = {"data_dir": Path(folder), **dict.fromkeys(stores)}
        with open_resources(settings.model_copy(update=own), ADDRESS) as resources:
            import_file(resources.catalog, file, images or file.parent)
            while resources.database.read(counts.count_pending):
                time.sleep(POLL_S)
            resources.search.words.refresh()
            yield resources


def search(service: SearchService, query: Query, mode: Mode, **fields: Any) -> SearchResponse:
    """Search for the best DEPTH products whatever their confidence, unless `fields` say else.

    Each variant is an answer of its own, as the judgements have it.
    """
    return service.search(request(query, {"min_confidence": 0, **mode, **fields}))


def request(query: Query, mode: Mode) -> SearchRequest:
    """Return the request for the best DEPTH products in this mode."""
    fields = {"top_k": DEPTH, "collapse": False, **query.fields, **mode}
    if query.content is not None:
        fields["image"] = query.content
    return SearchRequest.model_validate(fields)


def rank(service: SearchService, queries: Mapping[str, Query], mode: Mode) -> dict[str, list[str]]:
    """Return each query's skus, best first; hits without a sku are left out."""
    answers = ((qid, search(service, query, mode)) for qid, query in queries.items())
    return {
        qid: [hit.product.sku for hit in answer.hits if hit.product.sku is not None]
        for qid, answer in answers
    }


def product_ids(database: Database) -> dict[str, int]:
    """Return the product ids by sku."""
    return database.read(_fetch_product_ids)


def _fetch_product_ids(session: Session) -> dict[str, int]:
    rows = session.execute(select(Product.sku, Product.id))
    return {sku: product_id for sku, product_id in rows if sku is not None}
