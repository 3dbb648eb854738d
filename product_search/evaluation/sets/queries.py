"""Sets of queries as requests: texts, composed queries, images; and ways to search with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_models import Leg, SearchMode
from product_search.errors import StartError
from product_search.evaluation.sets.images import Images
from product_search.evaluation.sets.trec import read_lines, read_queries

_TEXT_LEGS = (Leg.bm25, Leg.text_to_text, Leg.text_to_image)


@dataclass(frozen=True)
class Asked:
    """What a query is: fields of a SearchRequest, and its image's bytes."""

    fields: Mapping[str, Any]
    content: bytes | None = None


Questions = dict[str, Asked]  # by query id
Way = Mapping[str, Any]  # the fields of a SearchRequest that say how it is searched


def legs(*names: Leg) -> Way:
    """Hybrid search of text with these legs alone."""
    others = {leg.value: 0.0 for leg in _TEXT_LEGS if leg not in names}
    return {"mode": SearchMode.hybrid, "legs": others} if others else {"mode": SearchMode.hybrid}


TEXT_WAYS: dict[str, Way] = {
    "bm25": legs(Leg.bm25),
    "text_to_text": {"mode": SearchMode.text_to_text},
    "text_to_image": {"mode": SearchMode.text_to_image},
    "hybrid": {"mode": SearchMode.hybrid},
}
IMAGE_WAYS: dict[str, Way] = {
    "image_to_image": {"mode": SearchMode.image_to_image},
    "image_to_text": {"mode": SearchMode.image_to_text},
}
COMPOSED_WAYS: dict[str, Way] = {"hybrid": {"mode": SearchMode.hybrid}}


def texts(path: Path) -> Questions:
    """Of lines of `qid<TAB>text`. Raises StartError."""
    return {qid: Asked({"text": text}) for qid, text in read_queries(path).items()}


def pictures(path: Path, photos: Path) -> Questions:
    """Of lines of `qid<TAB>name of an image`. Raises StartError."""
    known = Images(path.parent, photos)
    found: Questions = {}
    for qid, name in read_queries(path).items():
        try:
            found[qid] = Asked({}, known.content(name))
        except OSError as error:
            raise StartError(f"{path.name}：{qid} 的图片读不了：{error}") from error
    return found


def composed(path: Path, product_ids: Mapping[str, int]) -> Questions:
    """Of lines of `{"qid", "parts": [{"text" or "sku", "weight"}]}`. Raises StartError."""
    found: Questions = {}
    for number, line in read_lines(path):
        try:
            query = json.loads(line)
            parts = [_part(part, product_ids) for part in query["parts"]]
            found[query["qid"]] = Asked({"parts": parts})
        except (ValueError, KeyError, TypeError) as error:
            raise StartError(f"{path.name}：第 {number} 行有误：{error!r}") from error
    return found


def _part(part: Mapping[str, Any], product_ids: Mapping[str, int]) -> dict[str, Any]:
    what = {"product_id": product_ids[part["sku"]]} if "sku" in part else {"text": part["text"]}
    return {**what, "weight": part["weight"]}
