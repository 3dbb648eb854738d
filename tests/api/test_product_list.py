"""GET /product/list: filters, orders, literal title parts, pages and the walk."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import create_all, listed

ROWS: list[dict[str, Any]] = [
    {"title": "红色双肩包 100%纯棉", "category": "箱包", "brand": "拾光", "price": "129.00"},
    {"title": "蓝色双肩包 100元以内", "category": "箱包", "brand": "拾光", "price": "99.90"},
    {"title": "RED Bag_01", "category": "箱包", "brand": "Alpha", "price": "0"},
    {"title": "red bag 01", "category": "箱包", "brand": "alpha", "price": "0.01"},
    {"title": 'it\'s a "bag"', "category": "鞋靴", "brand": "拾光 ", "price": "99.90"},
    {"title": "苹果\\梨", "category": "生鲜", "brand": None, "price": None},
    {"title": "🎒𠮷\n第二行", "category": "生鲜", "brand": "a'b\"c\\d%_", "price": "9999999999.99"},
    {"title": "没有价格", "category": None, "brand": None, "price": None},
]


@pytest.fixture(scope="module", autouse=True)
def catalog(api: TestClient) -> list[int]:
    """The product ids of ROWS, in their order."""
    return [product["product_id"] for product in create_all(api, ROWS)]


def places(api: TestClient, catalog: list[int], **parameters: Any) -> list[int]:
    """Which of ROWS are listed, in the order of the answer."""
    page = listed(api, **({"sort": "oldest", "page_size": 100} | parameters))
    assert page["total"] == len(page["items"])
    return [catalog.index(item["product_id"]) for item in page["items"]]


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"category": "箱包"}, [0, 1, 2, 3]),
        ({"category": "箱"}, []),
        ({"brand": "拾光"}, [0, 1]),
        ({"brand": "拾光 "}, [4]),
        ({"brand": "Alpha"}, [2]),
        ({"brand": "alpha"}, [3]),
        ({"brand": "ALPHA"}, []),
        ({"brand": "a'b\"c\\d%_"}, [6]),
        ({"brand": "%"}, []),
        ({"category": "箱包", "brand": "拾光"}, [0, 1]),
        ({"min_price": "99.90"}, [0, 1, 4, 6]),
        ({"max_price": "99.90"}, [1, 2, 3, 4]),
        ({"min_price": "99.90", "max_price": "99.90"}, [1, 4]),
        ({"min_price": "0", "max_price": "0"}, [2]),
        ({"min_price": 0.01, "max_price": 0.01}, [3]),
        ({"min_price": "9999999999.99"}, [6]),
        ({"q": "双肩包"}, [0, 1]),
        ({"q": "100%"}, [0]),
        ({"q": "%"}, [0]),
        ({"q": "_"}, [2]),
        ({"q": "RED"}, [2]),
        ({"q": "red"}, [3]),
        ({"q": "'"}, [4]),
        ({"q": '"bag"'}, [4]),
        ({"q": "\\"}, [5]),
        ({"q": "🎒"}, [6]),
        ({"q": "𠮷\n第"}, [6]),
        ({"q": " "}, [0, 1, 2, 3, 4]),
        ({"q": "' OR 1=1 --"}, []),
        ({"q": "双肩包", "max_price": "100", "category": "箱包", "brand": "拾光"}, [1]),
        ({"index_status": "indexed"}, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"index_status": "failed"}, []),
    ],
    ids=str,
)
def test_filters_match_literally(
    api: TestClient, catalog: list[int], parameters: dict[str, Any], wanted: list[int]
) -> None:
    assert places(api, catalog, **parameters) == wanted


@pytest.mark.parametrize(
    ("sort", "wanted"),
    [
        ("oldest", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("newest", [7, 6, 5, 4, 3, 2, 1, 0]),
        ("price_asc", [2, 3, 1, 4, 0, 6, 5, 7]),
        ("price_desc", [6, 0, 1, 4, 3, 2, 5, 7]),
    ],
)
def test_the_order_is_the_one_asked_for(
    api: TestClient, catalog: list[int], sort: str, wanted: list[int]
) -> None:
    assert places(api, catalog, sort=sort) == wanted


def test_the_newest_come_first_unless_asked_otherwise(api: TestClient, catalog: list[int]) -> None:
    assert [item["product_id"] for item in listed(api)["items"]] == catalog[::-1]


@pytest.mark.parametrize("sort", ["oldest", "newest", "price_asc", "price_desc"])
@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_pages_together_are_the_whole_list(
    api: TestClient, catalog: list[int], sort: str, size: int
) -> None:
    seen: list[int] = []
    for page in range(1, len(ROWS) // size + 3):
        answer = listed(api, sort=sort, page=page, page_size=size)
        assert (answer["page"], answer["page_size"], answer["total"]) == (page, size, len(ROWS))
        seen += [catalog.index(item["product_id"]) for item in answer["items"]]
    assert seen == places(api, catalog, sort=sort)


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("parameters", [{}, {"category": "箱包"}, {"q": "双肩包"}])
def test_a_walk_sees_every_product_once(
    api: TestClient, catalog: list[int], size: int, parameters: dict[str, Any]
) -> None:
    seen: list[int] = []
    last = 0
    while items := listed(api, after_id=last, page_size=size, **parameters)["items"]:
        seen += [catalog.index(item["product_id"]) for item in items]
        last = items[-1]["product_id"]
    assert seen == places(api, catalog, **parameters)


def test_the_total_of_a_walk_counts_all_that_meet_the_filters(
    api: TestClient, catalog: list[int]
) -> None:
    answer = listed(api, after_id=catalog[2], page_size=1, category="箱包")
    assert (answer["total"], len(answer["items"])) == (4, 1)


def test_a_page_far_behind_the_end_is_empty(api: TestClient) -> None:
    answer = listed(api, page=1_000_000, page_size=100)
    assert (answer["items"], answer["total"]) == ([], len(ROWS))


def test_prices_in_a_list_are_strings_and_exact(api: TestClient) -> None:
    items = listed(api, sort="oldest")["items"]
    shown = [item["price"] for item in items]
    wanted = [row["price"] and f"{Decimal(row['price']):.2f}" for row in ROWS]
    assert shown == wanted


def test_a_list_by_sku_has_the_very_one_first_and_those_that_hold_it(api: TestClient) -> None:
    skus = ["LX-10-B", "LX-10", "ALX-10", "LX-11"]
    made = create_all(api, [{"title": f"台钳 {sku}", "sku": sku} for sku in skus])
    assert {item["sku"] for item in listed(api, sku="lx-10")["items"]} == set(skus[:3])
    exact = listed(api, sku="LX-10", page_size=2)
    assert ([item["sku"] for item in exact["items"]], exact["total"]) == (["LX-10", "ALX-10"], 3)
    second = listed(api, sku="LX-10", page_size=2, page=2)
    assert [item["sku"] for item in second["items"]] == ["LX-10-B"]
    walked = listed(api, sku="LX-10", after_id=0)
    assert [item["sku"] for item in walked["items"]] == ["LX-10-B", "LX-10", "ALX-10"]
    number = made[3]["product_id"]
    assert number in [item["product_id"] for item in listed(api, q=str(number))["items"]]
    assert [item["sku"] for item in listed(api, q="LX-11")["items"]] == ["LX-11"]
    assert listed(api, sku="没有这个")["total"] == 0
    for product in made:
        assert api.delete(f"/product/{product['product_id']}").status_code == 204


def test_a_sku_in_letters_of_any_language_is_listed(api: TestClient) -> None:
    made = create_all(api, [{"title": "咖啡", "sku": "café-straße-1"}])
    for sku in ("café", "CAFé-stra", "straße-1"):
        assert [item["sku"] for item in listed(api, sku=sku)["items"]] == ["café-straße-1"]
    assert api.delete(f"/product/{made[0]['product_id']}").status_code == 204
