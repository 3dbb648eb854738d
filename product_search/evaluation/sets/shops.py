"""The judged shops: catalogues of several trades, each with its own queries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from product_search.evaluation.sets import queries, trec
from product_search.evaluation.sets.queries import Queries
from product_search.evaluation.sets.trec import Qrels
from product_search.settings import ROOT

SHOPS_DIR = ROOT / "tests" / "relevance" / "shops"
IMAGES_DIR = ROOT / "sample_data"  # what a shop's image_path is relative to
# Nothing is fitted on the sealed one, and nobody looks at how it fares but in the last report.
SHOPS = ("parts", "cosmetics", "food")
SEALED = "home"


@dataclass(frozen=True)
class Shop:
    """The import file of a shop, its queries and their judgements."""

    name: str
    catalog: Path
    queries: Queries
    qrels: Qrels


def read_shop(name: str) -> Shop:
    """Read the shop of this name. Raises StartError."""
    folder = SHOPS_DIR / name
    return Shop(
        name,
        folder / "catalog.csv",
        queries.read_text_queries(folder / "queries.tsv"),
        trec.read_qrels(folder / "qrels.txt"),
    )
