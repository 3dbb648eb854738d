"""Real photos of two public sets, as a shop would import them: all of them get indexed."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from product_search.bulk.importer import import_file
from product_search.images.store import THUMBNAIL_SIDES
from tests.api.helpers import base64_of, create, listed, resources, search
from tests.clock import until
from tests.conftest import shared_folder

SETS = {"grocery": "生鲜食品", "clothing": "服装"}
WANTED = 75  # photos of each set, spread evenly over its classes


def stratified(labels: Path, wanted: int) -> list[dict[str, str]]:
    """Rows of a label file, one class after another in turn, until there are enough."""
    by_class: dict[str, list[dict[str, str]]] = defaultdict(list)
    with labels.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            by_class[row["class_id"]].append(row)
    chosen: list[dict[str, str]] = []
    for turn in range(max(map(len, by_class.values()))):
        chosen += [rows[turn] for rows in by_class.values() if turn < len(rows)]
    return chosen[:wanted]


def as_catalog(name: str, rows: list[dict[str, str]], target: Path) -> None:
    """The label rows in the catalog's format."""
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["sku", "title", "category", "attributes", "image_path"])
        for row in rows:
            attributes = {"英文名": row["title_en"], "来源": row["kind"]}
            writer.writerow(
                [
                    f"{name}-{row['image_path']}"[-100:],
                    row["title_zh"],
                    SETS[name],
                    json.dumps(attributes, ensure_ascii=False),
                    row["image_path"],
                ]
            )


@pytest.fixture(scope="module")
def photos(
    api: TestClient, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, str]]]:
    """The label rows that were imported, by the name of their set."""
    imported: dict[str, list[dict[str, str]]] = {}
    for name in SETS:
        folder = shared_folder(name)
        rows = stratified(folder / "labels.csv", WANTED)
        file = tmp_path_factory.mktemp("import") / f"{name}.csv"
        as_catalog(name, rows, file)
        report = import_file(resources(api).catalog, file, folder)
        assert (report.counts.created, report.bad_rows) == (len(rows), [])
        imported[name] = rows
    create(api, wait=True, title="最后一件")
    # What a person writes overtakes an import.
    until(lambda: not listed(api, index_status="pending")["total"], "the import's indexing")
    return imported


def test_every_photo_is_indexed(api: TestClient, photos: dict[str, list[dict[str, str]]]) -> None:
    assert {name: len(rows) for name, rows in photos.items()} == dict.fromkeys(SETS, WANTED)
    assert listed(api, index_status="indexed")["total"] == 2 * WANTED + 1
    for category in SETS.values():
        assert listed(api, category=category)["total"] == WANTED


@pytest.mark.parametrize("name", SETS)
def test_a_photo_finds_itself_among_all_of_them(
    api: TestClient, photos: dict[str, list[dict[str, str]]], name: str
) -> None:
    for row in photos[name][::15]:
        content = (shared_folder(name) / row["image_path"]).read_bytes()
        (hit,) = search(api, "image_to_image", image_base64=base64_of(content), top_k=1)
        assert hit["score"] >= 0.98
        assert hit["product"]["sku"] == f"{name}-{row['image_path']}"[-100:]


@pytest.mark.parametrize("name", SETS)
def test_words_find_the_titles_that_have_them(
    api: TestClient, photos: dict[str, list[dict[str, str]]], name: str
) -> None:
    for row in photos[name][::15]:
        hit = search(api, "text_to_text", text=row["title_zh"], top_k=1)[0]
        assert hit["product"]["title"] == row["title_zh"]


def test_a_category_keeps_the_other_set_out_in_every_mode(
    api: TestClient, photos: dict[str, list[dict[str, str]]]
) -> None:
    row = photos["grocery"][0]
    photo = base64_of((shared_folder("grocery") / row["image_path"]).read_bytes())
    for mode in ("text_to_text", "text_to_image", "image_to_image", "image_to_text"):
        query = {"text": "苹果"} if mode.startswith("text") else {"image_base64": photo}
        hits = search(api, mode, **query, top_k=100, filters={"category": "服装"})
        assert len(hits) == WANTED
        assert {hit["product"]["category"] for hit in hits} == {"服装"}


def test_every_photo_has_its_thumbnail(
    api: TestClient, photos: dict[str, list[dict[str, str]]]
) -> None:
    assert photos
    for item in listed(api, category="服装", page_size=10)["items"]:
        answer = api.get(item["image_url"], params={"size": THUMBNAIL_SIDES[0]})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
