"""The catalog in two dimensions, over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.settings import Settings
from tests.api.helpers import base64_of, code_of, create, create_all, resources
from tests.unit.pictures import encoded, noise

DEADLINE_S = 60
FIELDS = ("image_clip_vector", "text_clip_vector", "text_bge_vector")


@pytest.fixture
def shop(open_settings: Callable[[], Settings]) -> Any:
    """The service on a catalog of its own."""
    with TestClient(create_app(open_settings()), raise_server_exceptions=False) as client:
        yield client


def drawn(api: TestClient, field: str, *, fresh: bool = True) -> dict[str, Any]:
    """The map once there is one, and unless told otherwise one of the catalog as it is."""
    until = time.monotonic() + DEADLINE_S
    while True:
        answer = api.get("/product/map", params={"field": field})
        body = answer.json()
        if answer.status_code == 200 and not (fresh and body["stale"]):
            return cast(dict[str, Any], body)
        assert answer.status_code in (200, 202), answer.text
        if answer.status_code == 202:
            assert body == {"state": "computing", "error": None}
        assert time.monotonic() < until, "the map was not drawn"
        time.sleep(0.02)


def fruit_and_bags(api: TestClient) -> list[dict[str, Any]]:
    """Six products of two kinds, two of them with an image."""
    kinds = {"水果": ("红苹果", "青苹果", "苹果 一箱"), "箱包": ("旅行箱", "行李箱", "拉杆箱 旅行")}
    rows = [
        {"title": title, "category": category}
        for category, all_of in kinds.items()
        for title in all_of
    ]
    for row, seed in ((rows[0], 1), (rows[3], 2)):
        row["image_base64"] = base64_of(encoded(noise((40, 40), seed), "PNG"))
    return create_all(api, rows)


def test_an_unknown_field_is_refused(api: TestClient) -> None:
    for field in ("text_bm25_vector", "x"):
        answer = api.get("/product/map", params={"field": field})
        assert code_of(answer) == (422, "invalid_request")


def test_the_map_of_an_empty_catalog_is_empty(shop: TestClient) -> None:
    assert shop.get("/product/map").status_code == 202
    found = drawn(shop, "image_clip_vector")
    assert (found["total"], found["shown"], found["points"]) == (0, 0, [])
    assert found["explained_variance"] == [0, 0]


def test_products_of_a_kind_lie_together(shop: TestClient) -> None:
    made = fruit_and_bags(shop)
    found = drawn(shop, "text_bge_vector")
    assert (found["field"], found["total"], found["shown"]) == ("text_bge_vector", 6, 6)
    assert found["collection"] == resources(shop).collections.active().name
    assert [point["product_id"] for point in found["points"]] == [one["product_id"] for one in made]
    sides = {point["category"]: point["x"] > 0 for point in found["points"]}
    assert sides["水果"] != sides["箱包"]
    assert all((point["x"] > 0) == sides[point["category"]] for point in found["points"])
    first, second = found["explained_variance"]
    assert 1 >= first >= second > 0
    assert drawn(shop, "image_clip_vector")["total"] == 2  # those that have an image


def test_it_is_drawn_once_until_the_catalog_changes(shop: TestClient) -> None:
    made = fruit_and_bags(shop)
    before = {field: drawn(shop, field) for field in FIELDS}
    assert {field: drawn(shop, field) for field in FIELDS} == before
    changed, gone = made[0]["product_id"], made[1]["product_id"]
    shop.patch(f"/product/{changed}?wait=true", json={"title": "登机箱", "category": "箱包"})
    shop.delete(f"/product/{gone}")
    old = drawn(shop, "text_bge_vector", fresh=False)
    assert gone not in {point["product_id"] for point in old["points"]}
    new = drawn(shop, "text_bge_vector")
    assert new["computed_at"] > before["text_bge_vector"]["computed_at"]
    assert new["total"] == 5
    (place,) = [point for point in new["points"] if point["product_id"] == changed]
    assert place["category"] == "箱包"


def test_the_same_catalog_is_drawn_the_same(shop: TestClient) -> None:
    made = fruit_and_bags(shop)
    before = drawn(shop, "text_clip_vector")
    extra = create(shop, wait=True, title="雨伞")
    assert drawn(shop, "text_clip_vector")["total"] == len(made) + 1
    shop.delete(f"/product/{extra['product_id']}")
    after = drawn(shop, "text_clip_vector")
    assert after["points"] == before["points"]
