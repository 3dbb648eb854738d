"""Equal scores: the order is one and the same, however the answer is cut into pages."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from fastapi.testclient import TestClient

from product_search.bulk.importer import import_file
from tests.api.helpers import create, ids, resources, search

FEW, MANY = 60, 300
TITLES = {"少": "并列的同名商品", "多": "一模一样的袜子"}


@pytest.fixture(scope="module", autouse=True)
def catalogue(api: TestClient, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two groups of products that differ in nothing but their sku."""
    path = tmp_path_factory.mktemp("files") / "equals.csv"
    rows = [
        f"{category}-{number},{TITLES[category]},{category}"
        for category, size in (("少", FEW), ("多", MANY))
        for number in range(size)
    ]
    path.write_text("\n".join(["sku,title,category", *rows]), "utf-8")
    report = import_file(resources(api).catalog, path, path.parent)
    assert report.counts.created == FEW + MANY
    # Events are applied in the order of the writes: with this one, all are.
    assert create(api, wait=True, title="别的东西")["index_status"] == "indexed"


def pages(api: TestClient, category: str, size: int, step: int) -> list[dict[str, Any]]:
    """The group's hits, page after page."""
    found = [
        search(
            api,
            "text_to_text",
            text=TITLES[category],
            top_k=step,
            offset=offset,
            filters={"category": category},
        )
        for offset in range(0, size, step)
    ]
    return list(itertools.chain(*found))


def in_order(hits: list[dict[str, Any]]) -> list[tuple[float, int]]:
    """What the hits are ordered by: the score, then the key in Milvus."""
    return [(-hit["score"], int(hit["product"]["milvus_id"])) for hit in hits]


def test_pages_of_equals_are_the_unpaged_list(api: TestClient) -> None:
    paged = pages(api, "少", FEW, 7)
    assert len(set(ids(paged))) == len(paged) == FEW
    assert [hit["rank"] for hit in paged] == list(range(1, FEW + 1))
    assert ids(paged) == ids(pages(api, "少", FEW, FEW))


@pytest.mark.parametrize(("size", "category", "step"), [(FEW, "少", 7), (MANY, "多", 100)])
def test_equals_come_by_their_key(api: TestClient, size: int, category: str, step: int) -> None:
    order = in_order(pages(api, category, size, step))
    assert len(order) == size
    assert order == sorted(order)


@pytest.mark.parametrize("step", [100, 45])
def test_pages_of_more_equals_than_a_page_holds_each_of_them_once(
    api: TestClient, step: int
) -> None:
    paged = pages(api, "多", MANY, step)
    assert len(set(ids(paged))) == len(paged) == MANY


def test_the_first_page_of_more_equals_begins_the_same_at_every_size(api: TestClient) -> None:
    first = ids(pages(api, "多", 100, 100))
    for size in (1, 7, 40):
        assert ids(pages(api, "多", size, size)) == first[:size]


def test_equals_among_others_are_paged_without_a_filter_too(api: TestClient) -> None:
    query: dict[str, Any] = {"text": TITLES["少"]}
    whole = search(api, "text_to_text", **query, top_k=100)
    paged = [search(api, "text_to_text", **query, top_k=7, offset=at) for at in range(0, 98, 7)]
    assert ids(itertools.chain(*paged)) == ids(whole)[:98]
    assert in_order(whole) == sorted(in_order(whole))
