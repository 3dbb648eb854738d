"""The graded queries over the real photos are well formed; photos/README.md has their rules."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from product_search.training.starter import words
from tests.conftest import shared_folder

FOLDER = Path(__file__).parent / "photos"
KINDS = {"plain": 16, "paraphrase": 12, "general": 10, "colour": 8, "scene": 8, "typo": 6,
         "pinyin": 4, "traditional": 4, "nonsense": 14}  # fmt: skip
CLASSES = {"grocery": 81, "clothing": 10}


def _lines(name: str) -> list[str]:
    return (FOLDER / name).read_text(encoding="utf-8").splitlines()


QUERIES = [(qid, text) for qid, text in (line.split("\t") for line in _lines("queries.tsv"))]
JUDGED = [
    (qid, zero, name, int(grade))
    for qid, zero, name, grade in map(str.split, _lines("classes.txt"))
]


def _kind(qid: str) -> str:
    return qid.rpartition("-")[0]


def test_queries_are_numbered_through_each_kind() -> None:
    expected = [f"{kind}-{n:02}" for kind, count in KINDS.items() for n in range(1, count + 1)]
    assert [qid for qid, _ in QUERIES] == expected


def test_both_halves_of_each_kind_hold_queries() -> None:
    halves = Counter((_kind(qid), int(qid[-2:]) % 2) for qid, _ in QUERIES)
    assert set(halves) == {(kind, half) for kind in KINDS for half in (0, 1)}


def test_texts_are_distinct() -> None:
    texts = [text for _, text in QUERIES]
    assert all(text and text == text.strip() for text in texts)
    assert len(set(texts)) == len(texts)


def test_judgements_are_graded_once_and_in_order() -> None:
    assert {zero for _, zero, _, _ in JUDGED} == {"0"}
    assert {grade for _, _, _, grade in JUDGED} == {1, 2, 3}
    pairs = [(qid, name) for qid, _, name, _ in JUDGED]
    assert len(set(pairs)) == len(pairs)


def test_all_but_nonsense_have_a_good_match() -> None:
    matched = {qid for qid, _ in QUERIES if _kind(qid) != "nonsense"}
    assert {qid for qid, _, _, _ in JUDGED} == matched
    assert {qid for qid, _, _, grade in JUDGED if grade >= 2} == matched


def test_beyond_plain_names_no_query_is_a_training_text() -> None:
    named = [words.photo_words(), words.emoji_names()]
    trained = {
        words.canonical(text) for names in named for texts in names.values() for text in texts
    }
    trained |= {words.canonical(text) for texts in words.imagenet_names() for text in texts}
    asked = [text for qid, text in QUERIES if _kind(qid) not in ("plain", "nonsense")]
    assert [text for text in asked if words.canonical(text) in trained] == []


@pytest.mark.parametrize("folder", CLASSES)
def test_classes_exist(folder: str) -> None:
    with (shared_folder(folder) / "labels.csv").open(encoding="utf-8", newline="") as lines:
        known = {f"{folder}/{row['class_id']}" for row in csv.DictReader(lines)}
    assert len(known) == CLASSES[folder]
    assert {name for _, _, name, _ in JUDGED if name.startswith(f"{folder}/")} == known


def test_only_the_two_folders_are_named() -> None:
    assert {name.partition("/")[0] for _, _, name, _ in JUDGED} == set(CLASSES)
