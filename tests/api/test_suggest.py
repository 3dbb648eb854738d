"""Suggestions while a person types, through the real service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.settings import Settings
from product_search.suggestions.popular_queries import MIN_SEARCHES
from tests.api.helpers import code_of, create, create_all, fields_of, resources
from tests.clock import until

PRODUCTS: list[dict[str, Any]] = [
    {"title": "头戴式蓝牙耳机 黑色", "category": "数码电器", "brand": "声野"},
    {"title": "蓝牙耳机 入耳式 运动", "category": "数码电器", "brand": "声野"},
    {"title": "蓝牙音箱 便携防水", "category": "数码电器", "brand": "蓝调"},
    {"title": "Sony WH-1000XM5 降噪耳机", "category": "数码电器", "brand": "Sony"},
    {"title": "儿童雨伞 卡通", "category": "雨具"},
]


@pytest.fixture(scope="module")
def shop(api: TestClient) -> TestClient:
    """The service, once it has read the words of the products."""
    create_all(api, PRODUCTS)
    resources(api).suggester.words.refresh()
    return api


def suggested(api: TestClient, q: str, **parameters: Any) -> list[dict[str, Any]]:
    answer = api.get("/suggest", params={"q": q} | parameters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["suggestions"]
    return found


def texts(api: TestClient, q: str, **parameters: Any) -> list[str]:
    return [one["text"] for one in suggested(api, q, **parameters)]


@pytest.mark.parametrize(
    "typed", ["蓝牙", "藍牙", "lany", "lanyaerji", "lyej", "LYEJ", "蓝牙er", "兰牙", " 蓝牙 "]
)
def test_what_is_typed_in_any_way_is_completed(shop: TestClient, typed: str) -> None:
    assert "蓝牙耳机" in texts(shop, typed)


def test_each_suggestion_has_its_kind_and_number_and_comes_once(shop: TestClient) -> None:
    assert {"text": "蓝牙耳机", "kind": "title", "products": 2} in suggested(shop, "蓝牙")
    assert suggested(shop, "雨具") == [{"text": "雨具", "kind": "category", "products": 1}]
    # A word of a title, too.
    assert suggested(shop, "sony")[0] == {"text": "Sony", "kind": "brand", "products": 1}
    everything = texts(shop, "", limit=50)
    assert len(everything) == len(set(everything))


def test_the_limit_is_kept(shop: TestClient) -> None:
    assert len(suggested(shop, "", limit=3)) == 3
    assert code_of(shop.get("/suggest", params={"q": "蓝", "limit": 51})) == (
        422,
        "invalid_request",
    )


@pytest.mark.parametrize("typed", ["，。", "火星", "%", "\x00", "\\", "'", "🎧", "长" * 512])
def test_what_nothing_begins_with_gets_no_suggestion(shop: TestClient, typed: str) -> None:
    assert texts(shop, typed) == []


def test_too_long_a_text_and_an_unknown_parameter_are_named(shop: TestClient) -> None:
    assert fields_of(shop.get("/suggest", params={"q": "长" * 513})) == {"q"}
    assert fields_of(shop.get("/suggest", params={"query": "蓝"})) == {"query"}


def test_suggestions_follow_the_catalog_by_themselves(shop: TestClient) -> None:
    made = create(shop, title="磁吸充电宝")
    until(lambda: "充电宝" in " ".join(texts(shop, "cixi")), "a suggestion of a new product")
    shop.delete(f"/product/{made['product_id']}")
    until(lambda: not texts(shop, "cixi"), "the end of a deleted product's suggestion")
    assert "磁吸充电宝" not in texts(shop, "磁")


def ask(api: TestClient, text: str, **fields: Any) -> None:
    """Search, and have the search counted."""
    assert api.post("/search", json={"text": text} | fields).status_code == 200
    resources(api).suggester.popular.write()


def test_a_query_that_finds_something_is_suggested_once_it_is_popular(shop: TestClient) -> None:
    popular = resources(shop).suggester.popular
    for _ in range(MIN_SEARCHES):
        ask(shop, "卡通雨伞")
        ask(shop, "火星探测器燃料")  # nothing fits
        ask(shop, "卡通", top_k=1, offset=1)  # a later page
        ask(shop, "运动", mode="text_to_text")
    popular.read()
    assert {"text": "卡通雨伞", "kind": "query", "products": None} in suggested(shop, "卡通")
    kinds = {one["kind"] for typed in ("火星", "卡通", "运动") for one in suggested(shop, typed)}
    assert kinds == {"query", "title"}
    assert [one["text"] for one in suggested(shop, "", limit=50) if one["kind"] == "query"] == [
        "卡通雨伞"
    ]
    for _ in range(MIN_SEARCHES):
        ask(shop, "蓝牙耳机")
    popular.read()
    assert suggested(shop, "lyej")[0] == {"text": "蓝牙耳机", "kind": "query", "products": 2}


@pytest.fixture
def uncounted(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service that counts no queries."""
    settings = open_settings().model_copy(update={"popular_queries": False})
    with TestClient(create_app(settings), raise_server_exceptions=False) as api:
        yield api


def test_a_setting_switches_popular_queries_off(uncounted: TestClient) -> None:
    create(uncounted, wait=True, title="儿童雨伞 卡通")
    for _ in range(MIN_SEARCHES):
        ask(uncounted, "卡通雨伞")
    resources(uncounted).suggester.popular.read()
    assert "卡通雨伞" not in texts(uncounted, "卡通")
