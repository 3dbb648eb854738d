"""The query set for the sample catalog is well-formed; catalog/README.md says what it holds."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from product_search.settings import ROOT

CATALOG = ROOT / "sample_data" / "catalog.csv"
QUERY_SET = Path(__file__).parent / "catalog"
AT_LEAST = {"plain": 20, "paraphrase": 20, "attribute": 15, "colour": 15, "scene": 20, "typo": 15,
            "pinyin": 10, "traditional": 10, "mixed": 10, "model": 20, "brand": 10,
            "negation": 10, "nonsense": 30}  # fmt: skip


def kind(qid: str) -> str:
    return qid.rpartition("-")[0]


def pairs(text: str) -> set[str]:
    """Every two neighbouring characters of one word."""
    return {word[i : i + 2] for word in text.lower().split() for i in range(len(word) - 1)}


@pytest.fixture(scope="module")
def titles() -> dict[str, str]:
    with CATALOG.open(encoding="utf-8", newline="") as file:
        return {row["sku"]: row["title"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def queries() -> list[tuple[str, str]]:
    lines = (QUERY_SET / "queries.tsv").read_text("utf-8").splitlines()
    return [(qid, text) for qid, text in (line.split("\t") for line in lines)]


@pytest.fixture(scope="module")
def qrels() -> list[tuple[str, str, str, int]]:
    lines = (QUERY_SET / "qrels.txt").read_text("utf-8").splitlines()
    rows = (line.split(" ") for line in lines)
    return [(qid, iteration, sku, int(grade)) for qid, iteration, sku, grade in rows]


@pytest.fixture(scope="module")
def grades(qrels: list[tuple[str, str, str, int]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for qid, _, sku, grade in qrels:
        found[qid][sku] = grade
    return found


def test_queries_are_distinct_and_of_known_kinds(queries: list[tuple[str, str]]) -> None:
    assert len({qid for qid, _ in queries}) == len(queries)
    assert len({" ".join(text.lower().split()) for _, text in queries}) == len(queries)
    for qid, text in queries:
        assert re.fullmatch(r"[a-z]+-\d\d", qid), qid
        assert kind(qid) in AT_LEAST, qid
        assert text == text.strip() != "", qid


def test_each_kind_has_its_queries_in_both_halves(queries: list[tuple[str, str]]) -> None:
    counts = Counter(kind(qid) for qid, _ in queries)
    assert {name: n for name, n in AT_LEAST.items() if counts[name] < n} == {}
    halves = {(kind(qid), int(qid[-2:]) % 2) for qid, _ in queries}
    assert halves == {(name, half) for name in AT_LEAST for half in (0, 1)}


def test_judgements_name_known_queries_and_products(
    queries: list[tuple[str, str]],
    qrels: list[tuple[str, str, str, int]],
    titles: dict[str, str],
) -> None:
    qids = {qid for qid, _ in queries}
    assert [row for row in qrels if row[0] not in qids or row[2] not in titles] == []
    assert {(iteration, grade) for _, iteration, _, grade in qrels} == {("0", g) for g in (1, 2, 3)}
    assert len({(qid, sku) for qid, _, sku, _ in qrels}) == len(qrels)


def test_every_query_but_nonsense_has_an_answer(
    queries: list[tuple[str, str]], grades: dict[str, dict[str, int]]
) -> None:
    for qid, _ in queries:
        best = max(grades.get(qid, {}).values(), default=0)
        if kind(qid) == "nonsense":
            assert best == 0, qid
        else:
            assert best >= (3 if kind(qid) == "model" else 2), qid


def test_every_product_answers_some_query(
    titles: dict[str, str], qrels: list[tuple[str, str, str, int]]
) -> None:
    assert titles.keys() - {sku for _, _, sku, grade in qrels if grade >= 2} == set()


def test_paraphrases_share_no_word_with_the_titles_that_answer_them(
    queries: list[tuple[str, str]], grades: dict[str, dict[str, int]], titles: dict[str, str]
) -> None:
    for qid, text in queries:
        if kind(qid) == "paraphrase":
            answers = [titles[sku] for sku, grade in grades[qid].items() if grade >= 2]
            assert [title for title in answers if pairs(text) & pairs(title)] == [], qid
