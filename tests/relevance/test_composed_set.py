"""The composed queries are well formed; composed/README.md has their rules."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from product_search.settings import ROOT

FOLDER = Path(__file__).parent / "composed"
AT_LEAST = {"recolour": 14, "refine": 14, "several": 12, "negative-text": 12,
            "negative-example": 12, "mixed": 12}  # fmt: skip
QUERIES: list[dict[str, Any]] = [
    json.loads(line) for line in (FOLDER / "queries.jsonl").read_text("utf-8").splitlines()
]
JUDGED = [
    (qid, zero, sku, int(grade))
    for qid, zero, sku, grade in map(
        str.split, (FOLDER / "qrels.txt").read_text("utf-8").splitlines()
    )
]


def _kind(qid: str) -> str:
    return qid.rpartition("-")[0]


def _products() -> dict[str, str]:
    with (ROOT / "sample_data" / "catalog.csv").open(encoding="utf-8", newline="") as file:
        return {row["sku"]: row["image_path"] for row in csv.DictReader(file)}


def _signs(query: dict[str, Any], field: str) -> set[bool]:
    """Whether the query's parts of one sort are wanted: True, False or both."""
    return {part["weight"] > 0 for part in query["parts"] if field in part}


def test_queries_are_distinct_and_both_halves_hold_each_kind() -> None:
    assert len({query["qid"] for query in QUERIES}) == len(QUERIES)
    assert len({json.dumps(query["parts"], sort_keys=True) for query in QUERIES}) == len(QUERIES)
    counts = Counter(_kind(query["qid"]) for query in QUERIES)
    assert counts.keys() == AT_LEAST.keys()
    assert {kind: n for kind, n in AT_LEAST.items() if counts[kind] < n} == {}
    halves = {(_kind(query["qid"]), int(query["qid"][-2:]) % 2) for query in QUERIES}
    assert halves == {(kind, half) for kind in AT_LEAST for half in (0, 1)}


def test_parts_are_a_text_or_an_imaged_product_with_a_weight() -> None:
    pictured = {sku for sku, image in _products().items() if image}
    for query in QUERIES:
        assert query.keys() == {"qid", "parts"}
        assert re.fullmatch(r"[a-z]+(-[a-z]+)?-\d\d", query["qid"])
        for part in query["parts"]:
            assert part.keys() in ({"text", "weight"}, {"sku", "weight"}), query["qid"]
            assert 0 < abs(part["weight"]) <= 1, query["qid"]
            assert "sku" not in part or part["sku"] in pictured, query["qid"]
            assert "text" not in part or part["text"] == part["text"].strip() != "", query["qid"]
        named = [part.get("sku", part.get("text")) for part in query["parts"]]
        assert len(set(named)) == len(named) > 1, query["qid"]


def test_each_query_is_of_the_kind_that_its_name_says() -> None:
    for query in QUERIES:
        texts, examples = _signs(query, "text"), _signs(query, "sku")
        assert True in texts | examples, query["qid"]
        is_of_kind = {
            "recolour": (texts, examples) == ({True}, {True}),
            "refine": (texts, examples) == ({True}, {True}),
            "several": (texts, examples) in (({True}, set()), (set(), {True})),
            "negative-text": False in texts and False not in examples,
            "negative-example": False in examples and False not in texts,
            "mixed": len(query["parts"]) > 2,
        }
        assert is_of_kind[_kind(query["qid"])], query["qid"]


def test_judgements_name_known_queries_and_products_once() -> None:
    qids = {query["qid"] for query in QUERIES}
    skus = _products().keys()
    assert [row for row in JUDGED if row[0] not in qids or row[2] not in skus] == []
    assert {(zero, grade) for _, zero, _, grade in JUDGED} == {("0", grade) for grade in (1, 2, 3)}
    assert len({(qid, sku) for qid, _, sku, _ in JUDGED}) == len(JUDGED)


def test_every_query_has_a_good_answer() -> None:
    answered = {qid for qid, _, _, grade in JUDGED if grade >= 2}
    assert answered == {query["qid"] for query in QUERIES}


def test_no_unwanted_example_and_no_example_to_recolour_is_an_answer() -> None:
    answers = {(qid, sku) for qid, _, sku, _ in JUDGED}
    for query in QUERIES:
        for part in query["parts"]:
            if part["weight"] < 0 or _kind(query["qid"]) == "recolour":
                assert (query["qid"], part.get("sku")) not in answers
