"""The image queries are well formed; images/README.md has their rules."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict

import pytest
from PIL import Image

from product_search.evaluation.sets.images import Images
from product_search.evaluation.sets.trec import read_texts
from product_search.settings import ROOT
from tests.conftest import SHARED, shared_folder

KINDS = {"sold": 76, "surface": 26, "scene": 30, "plain": 14, "unsold": 14}
FOLDER = ROOT / "tests" / "relevance" / "images"
IMAGES = Images(FOLDER, SHARED / "data")
QUERIES = read_texts(FOLDER / "queries.tsv")
JUDGED = [
    (qid, zero, sku, int(grade))
    for qid, zero, sku, grade in map(
        str.split, (FOLDER / "qrels.txt").read_text("utf-8").splitlines()
    )
]
REPEATED = sorted(name for name in QUERIES.values() if name.startswith("pictures/"))


def _sources() -> list[dict[str, str]]:
    with (FOLDER / "sources.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_queries_are_numbered_through_each_kind() -> None:
    expected = [f"{kind}-{n:02}" for kind, count in KINDS.items() for n in range(1, count + 1)]
    assert list(QUERIES) == expected


def test_no_image_is_asked_twice() -> None:
    assert [name for name, n in Counter(QUERIES.values()).items() if n > 1] == []


def test_only_sold_things_have_answers_and_each_a_good_one() -> None:
    sold = {qid for qid in QUERIES if qid.startswith("sold-")}
    assert {qid for qid, _, _, _ in JUDGED} == sold
    assert {qid for qid, _, _, grade in JUDGED if grade >= 2} == sold


def test_judgements_name_known_products_once() -> None:
    with (ROOT / "sample_data" / "catalog.csv").open(encoding="utf-8", newline="") as file:
        known = {row["sku"] for row in csv.DictReader(file)}
    assert {sku for _, _, sku, _ in JUDGED} <= known
    assert {(zero, grade) for _, zero, _, grade in JUDGED} == {("0", grade) for grade in (1, 2, 3)}
    assert len({(qid, sku) for qid, _, sku, _ in JUDGED}) == len(JUDGED)


def test_at_most_a_quarter_of_what_matches_nothing_is_drawn() -> None:
    unmatched = sum(KINDS.values()) - KINDS["sold"]
    assert unmatched >= 40
    assert KINDS["plain"] <= unmatched / 4


@pytest.mark.parametrize("folder", ["grocery", "clothing"])
def test_photos_are_validation_photos(folder: str) -> None:
    with (shared_folder(folder) / "labels.csv").open(encoding="utf-8", newline="") as file:
        kinds = {
            f"shared/{folder}/{row['image_path']}": row["kind"] for row in csv.DictReader(file)
        }
    asked = [name for name in QUERIES.values() if name.startswith(f"shared/{folder}/")]
    assert asked
    assert {name: kinds.get(name) for name in asked if kinds.get(name) != "validation"} == {}
    assert [name for name in asked if not IMAGES.file_of(name).is_file()] == []


def test_every_repeated_image_has_its_source_and_none_lies_idle() -> None:
    assert [f"pictures/{row['picture']}" for row in _sources()] == REPEATED
    assert sorted(f"pictures/{path.name}" for path in (FOLDER / "pictures").iterdir()) == REPEATED
    assert {row["licence"] for row in _sources()} == {"CC0-1.0", "CC-BY-4.0", "public domain"}
    assert all(row["source"] and row["author"] and row["part"] for row in _sources())


def test_patches_of_one_image_are_in_one_half() -> None:
    halves = defaultdict(set)
    asked = {name.removeprefix("pictures/"): qid for qid, name in QUERIES.items()}
    for row in _sources():
        halves[row["source"]].add(int(asked[row["picture"]][-2:]) % 2)
    assert {source for source, half in halves.items() if len(half) > 1} == set()


def test_repeated_images_are_small() -> None:
    assert sum(IMAGES.file_of(name).stat().st_size for name in REPEATED) < 600_000
    for name in REPEATED:
        with Image.open(IMAGES.file_of(name)) as image:
            assert max(image.size) <= 288, name


def test_drawn_images_differ_and_are_drawn_alike_each_time() -> None:
    drawn = [name for name in QUERIES.values() if name.startswith("plain/")]
    first = [IMAGES.content(name) for name in drawn]
    assert len(set(first)) == KINDS["plain"]
    assert first == [IMAGES.content(name) for name in drawn]
