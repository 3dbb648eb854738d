"""Judged queries through the real retrieval: rankings by mode, over a catalogue."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from data_models import SearchMode, SearchRequest
from product_search import outbox_state
from product_search.bulk_import import import_file
from product_search.evaluation.measures import DEPTH
from product_search.evaluation.trec import Queries
from product_search.resources import Resources, open_resources
from product_search.retrieval import Retrieval
from product_search.settings import Settings

ADDRESS = "evaluation"
TEXT_MODES = (SearchMode.text_to_text, SearchMode.text_to_image, SearchMode.hybrid)
POLL_S = 0.1


@contextmanager
def catalogue(settings: Settings, file: Path | None) -> Iterator[Resources]:
    """The catalogue of the settings, or that of an import file, in a folder of its own.

    Raises as open_resources and import_file.
    """
    if file is None:
        with open_resources(settings, ADDRESS) as resources:
            yield resources
        return
    with tempfile.TemporaryDirectory() as folder:
        own = {"data_dir": Path(folder), "database_url": None, "milvus_uri": None}
        with open_resources(settings.model_copy(update=own), ADDRESS) as resources:
            import_file(resources.catalog, file, file.parent, lambda _counts: None)
            wait_until_indexed(resources)
            yield resources


def wait_until_indexed(resources: Resources) -> None:
    """Until no product waits any more."""
    while resources.database.read(outbox_state.pending):
        time.sleep(POLL_S)


def run(retrieval: Retrieval, queries: Queries, mode: SearchMode) -> dict[str, list[str]]:
    """The skus of the hits of every query, best first; a product without one is left out."""
    return {qid: list(_skus(retrieval, text, mode)) for qid, text in queries.items()}


def run_all(
    retrieval: Retrieval, queries: Queries, modes: Iterable[SearchMode]
) -> Mapping[SearchMode, dict[str, list[str]]]:
    """Every query in every mode."""
    return {mode: run(retrieval, queries, mode) for mode in modes}


def _skus(retrieval: Retrieval, text: str, mode: SearchMode) -> Iterator[str]:
    request = SearchRequest(mode=mode, text=text, top_k=DEPTH, min_confidence=0)
    for hit in retrieval.search(request, lambda: None).hits:
        if hit.product.sku is not None:
            yield hit.product.sku
