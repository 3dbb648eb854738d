"""The judged shops are well-formed; shops/README.md says what they hold."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from product_search.evaluation.sets.shops import SEALED, SHOPS, SHOPS_DIR
from product_search.settings import ROOT

COLUMNS = "sku,title,description,category,brand,price,group,attributes,image_path"
AT_LEAST = {"plain": 12, "paraphrase": 14, "attribute": 8, "scene": 8, "mixed": 5, "code": 8,
            "sku": 4, "brand": 5, "measure": 6, "othermodel": 6, "price": 7, "negation": 8,
            "initials": 6, "pinyin": 4, "char": 6, "typo": 5, "latintypo": 5,
            "absentphrase": 12, "absentname": 12, "everyday": 6}  # fmt: skip
WITHOUT_A_FIT = ("othermodel", "absentphrase", "absentname")


@dataclass(frozen=True)
class Shop:
    """The three files of a shop."""

    rows: list[dict[str, str]]
    queries: list[tuple[str, str]]
    qrels: list[tuple[str, str, int]]

    @property
    def grades(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for qid, sku, grade in self.qrels:
            found[qid][sku] = grade
        return found


@pytest.fixture(scope="module", params=[*SHOPS, SEALED])
def shop(request: pytest.FixtureRequest) -> Shop:
    folder = SHOPS_DIR / request.param
    with (folder / "catalog.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert ",".join(reader.fieldnames or ()) == COLUMNS
        rows = list(reader)
    lines = (folder / "queries.tsv").read_text("utf-8").splitlines()
    queries = [(qid, text) for qid, text in (line.split("\t") for line in lines)]
    lines = (folder / "qrels.txt").read_text("utf-8").splitlines()
    judged = [re.fullmatch(r"(\S+) 0 (\S+) ([123])", line) for line in lines]
    assert [line for line, found in zip(lines, judged, strict=True) if found is None] == []
    return Shop(rows, queries, [(one[1], one[2], int(one[3])) for one in judged if one])


def kind(qid: str) -> str:
    return qid.rpartition("-")[0]


def pairs(text: str) -> set[str]:
    """Every two neighbouring characters of one word."""
    return {word[i : i + 2] for word in text.lower().split() for i in range(len(word) - 1)}


def test_products_are_complete_and_distinct(shop: Shop) -> None:
    assert 150 <= len(shop.rows) <= 200
    assert len({row["sku"] for row in shop.rows}) == len(shop.rows)
    for row in shop.rows:
        assert isinstance(json.loads(row["attributes"]), dict), row["sku"]
        assert Decimal(row["price"]) > 0, row["sku"]
        assert row["category"], row["sku"]
        assert 2 <= len(row["title"]) <= 200, row["sku"]
        image: Path = ROOT / "sample_data" / row["image_path"]
        assert not row["image_path"] or image.is_file(), row["sku"]


def test_variants_are_grouped(shop: Shop) -> None:
    groups = Counter(row["group"] for row in shop.rows if row["group"])
    assert len(groups) >= 12
    assert min(groups.values()) >= 2


def test_each_kind_has_its_queries(shop: Shop) -> None:
    counts = Counter(kind(qid) for qid, _ in shop.queries)
    assert counts.keys() == AT_LEAST.keys()
    assert {name: n for name, n in AT_LEAST.items() if counts[name] < n} == {}
    assert len({text.lower() for _, text in shop.queries}) == len(shop.queries)
    assert all(re.fullmatch(r"[a-z]+-\d\d", qid) for qid, _ in shop.queries)


def test_judgements_name_known_queries_and_products(shop: Shop) -> None:
    qids, skus = {qid for qid, _ in shop.queries}, {row["sku"] for row in shop.rows}
    assert [row for row in shop.qrels if row[0] not in qids or row[1] not in skus] == []
    assert len({(qid, sku) for qid, sku, _ in shop.qrels}) == len(shop.qrels)


def test_what_is_sold_has_an_answer_and_what_is_not_has_none(shop: Shop) -> None:
    for qid, _ in shop.queries:
        best = max(shop.grades.get(qid, {}).values(), default=0)
        if kind(qid) in WITHOUT_A_FIT:
            assert best <= (1 if kind(qid) == "othermodel" else 0), qid
        else:
            assert best >= 2, qid


def test_paraphrases_share_no_word_with_the_titles_that_answer_them(shop: Shop) -> None:
    titles = {row["sku"]: row["title"] for row in shop.rows}
    for qid, text in shop.queries:
        if kind(qid) == "paraphrase":
            answers = [titles[sku] for sku, grade in shop.grades[qid].items() if grade >= 2]
            assert [title for title in answers if pairs(text) & pairs(title)] == [], qid
