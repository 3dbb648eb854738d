"""Sets of queries with their judgements, and the modes to search with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from data_models import Leg, SearchMode
from product_search.errors import StartError
from product_search.evaluation.sets.images import Images
from product_search.evaluation.sets.trec import Qrels, read_lines, read_texts

TEXT_LEGS = (Leg.bm25, Leg.text_to_text, Leg.text_to_image)

Half = Literal["tuning", "reported"]
HALVES: tuple[Half, ...] = ("tuning", "reported")


@dataclass(frozen=True)
class Query:
    """The fields of a SearchRequest, and the bytes of the query's image."""

    fields: Mapping[str, Any]
    content: bytes | None = None


Queries = dict[str, Query]  # by query id
Mode = Mapping[str, Any]  # the fields of a SearchRequest that say how to search


def hybrid(*legs: Leg) -> Mode:
    """Return the hybrid mode with these text legs alone."""
    others = {leg.value: 0.0 for leg in TEXT_LEGS if leg not in legs}
    return {"mode": SearchMode.hybrid, "legs": others} if others else {"mode": SearchMode.hybrid}


TEXT_MODES: dict[str, Mode] = {
    "bm25": hybrid(Leg.bm25),
    "text_to_text": {"mode": SearchMode.text_to_text},
    "text_to_image": {"mode": SearchMode.text_to_image},
    "hybrid": {"mode": SearchMode.hybrid},
}
IMAGE_MODES: dict[str, Mode] = {
    "image_to_image": {"mode": SearchMode.image_to_image},
    "image_to_text": {"mode": SearchMode.image_to_text},
}
COMPOSED_MODES: dict[str, Mode] = {"hybrid": {"mode": SearchMode.hybrid}}


@dataclass(frozen=True)
class QuerySet:
    """Queries, their judgements, and the modes to search with, by the name that is printed."""

    queries: Queries
    qrels: Qrels
    modes: Mapping[str, Mode]

    def half(self, half: Half) -> QuerySet:
        """Return the set with only the queries of this half. Raises StartError."""
        queries = {qid: query for qid, query in self.queries.items() if half_of(qid) == half}
        qrels = {qid: grades for qid, grades in self.qrels.items() if qid in queries}
        return replace(self, queries=queries, qrels=qrels)


def half_of(qid: str) -> Half:
    """Return the half of a query id like plain-07: odd numbers tune, even ones are reported.

    Raises:
        StartError: the id has no number.
    """
    number = qid.rpartition("-")[2]
    if not number.isdecimal():
        raise StartError(f"{qid} 没有编号，分不出两半")
    return "tuning" if int(number) % 2 else "reported"


def kind_of(qid: str) -> str:
    """Return the kind of a query id: plain of plain-07."""
    return qid.rpartition("-")[0]


def read_text_queries(path: Path) -> Queries:
    """Read lines of `qid<TAB>text`. Raises StartError."""
    return {qid: Query({"text": text}) for qid, text in read_texts(path).items()}


def read_image_queries(path: Path, photos: Path) -> Queries:
    """Read lines of `qid<TAB>name of an image`, as `Images` finds it. Raises StartError."""
    images = Images(path.parent, photos)
    queries: Queries = {}
    for qid, name in read_texts(path).items():
        try:
            queries[qid] = Query({}, images.content(name))
        except OSError as error:
            raise StartError(f"{path.name}：{qid} 的图片读不了：{error}") from error
    return queries


def read_composed_queries(path: Path, product_ids: Mapping[str, int]) -> Queries:
    """Read lines of `{"qid", "parts": [{"text" or "sku", "weight"}]}`. Raises StartError."""
    queries: Queries = {}
    for number, line in read_lines(path):
        try:
            query = json.loads(line)
            parts = [_part(part, product_ids) for part in query["parts"]]
            queries[query["qid"]] = Query({"parts": parts})
        except (ValueError, KeyError, TypeError) as error:
            raise StartError(f"{path.name}：第 {number} 行有误：{error!r}") from error
    return queries


def _part(part: Mapping[str, Any], product_ids: Mapping[str, int]) -> dict[str, Any]:
    source = {"product_id": product_ids[part["sku"]]} if "sku" in part else {"text": part["text"]}
    return {**source, "weight": part["weight"]}
