"""Filters of POST /search: literal, case-sensitive, exact, whatever the values hold."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings, strategies as st
from sqlalchemy import Update, update
from sqlalchemy.orm import Session

from data_models import is_blank
from orm_models import Product
from tests.api.helpers import base64_of, create, create_all, ids, listed, resources, search
from tests.hostile import HOSTILE as ANY_HOSTILE
from tests.unit.pictures import encoded, noise

# The API refuses blank labels before a filter sees them.
HOSTILE = [text for text in ANY_HOSTILE if not is_blank(text)]


@pytest.fixture(scope="module", autouse=True)
def catalog(api: TestClient) -> dict[str, int]:
    """The product of each hostile value, which is its brand and its category."""
    image = base64_of(encoded(noise((20, 20)), "PNG"))
    made = create_all(
        api,
        [
            {"title": "书包", "brand": value, "category": value, "image_base64": image}
            for value in HOSTILE
        ],
    )
    create_all(api, [{"title": "书包", "price": price} for price in ("0", "9.99", "10", None)])
    return {value: product["product_id"] for value, product in zip(HOSTILE, made, strict=True)}


def found(api: TestClient, mode: str = "text_to_text", **filters: Any) -> list[int]:
    query: dict[str, Any] = {"text": "书包"}
    if mode.startswith("image"):
        query = {"image_base64": base64_of(encoded(noise((20, 20)), "PNG"))}
    return sorted(ids(search(api, mode, top_k=100, filters=filters, **query)))


@pytest.mark.parametrize("field", ["brand", "category"])
@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_a_value_matches_itself_and_nothing_else(
    api: TestClient, catalog: dict[str, int], field: str, value: str
) -> None:
    wanted = [catalog[value]]
    assert found(api, **{field: value}) == wanted
    assert [item["product_id"] for item in listed(api, **{field: value})["items"]] == wanted


@pytest.mark.parametrize(
    "mode", ["text_to_text", "text_to_image", "image_to_image", "image_to_text"]
)
def test_a_list_matches_any_of_its_values_in_every_mode(
    api: TestClient, catalog: dict[str, int], mode: str
) -> None:
    some = HOSTILE[2:9]
    assert found(api, mode, brand=some) == sorted(catalog[value] for value in some)
    assert found(api, mode, brand=HOSTILE) == sorted(catalog.values())


def test_conditions_hold_together(api: TestClient, catalog: dict[str, int]) -> None:
    assert found(api, brand=["plain", "%"], category=["%", "_"]) == [catalog["%"]]
    assert found(api, brand="plain", category="%") == []
    assert found(api, brand="plain", price={"gte": 0}) == []


@pytest.mark.parametrize(
    ("price", "wanted"),
    [
        ({"gte": 0}, ["0.00", "10.00", "9.99"]),
        ({"lte": 0}, ["0.00"]),
        ({"gte": "9.99", "lte": 9.99}, ["9.99"]),
        ({"gte": "9.991"}, None),
        ({"gte": "10"}, ["10.00"]),
        ({"gte": "0.01", "lte": "9.98"}, []),
        ({"gte": None, "lte": "9999999999.99"}, ["0.00", "10.00", "9.99"]),
    ],
    ids=str,
)
def test_prices_are_compared_exactly_and_the_unpriced_left_out(
    api: TestClient, price: dict[str, Any], wanted: list[str] | None
) -> None:
    body = {"mode": "text_to_text", "text": "书包", "top_k": 100, "filters": {"price": price}}
    answer = api.post("/search", json=body)
    if wanted is None:
        assert answer.json()["code"] == "invalid_request"
    else:
        assert sorted(hit["product"]["price"] for hit in answer.json()["hits"]) == wanted


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=100).filter(lambda text: not is_blank(text)))
def test_a_value_that_no_product_has_finds_none_whatever_it_is(api: TestClient, value: str) -> None:
    if value not in HOSTILE:
        assert found(api, brand=["没有这个", value]) == []


@settings(max_examples=15, deadline=None)
@given(st.text(min_size=1, max_size=100).filter(lambda text: not is_blank(text)))
def test_any_value_finds_its_own_product(api: TestClient, value: str) -> None:
    made = create(api, wait=True, title="手表", category=value)
    hits = found(api, category=value)
    assert api.delete(f"/product/{made['product_id']}").status_code == 204
    assert made["product_id"] in hits
    assert len(hits) <= 2


@pytest.mark.parametrize("mode", ["text_to_text", "image_to_text"])
def test_attributes_filter_by_value_list_and_range(api: TestClient, mode: str) -> None:
    red, blue, plain = (
        made["product_id"]
        for made in create_all(
            api,
            [
                {"category": mode, "attributes": attributes}
                for attributes in (
                    {"颜色": "红", "容量": 25, "适合": ["男", "女"], "防水": True},
                    {"颜色": "蓝", "容量": 30.5, "适合": ["女"], "防水": 1},
                    {"颜色": None, "容量": "25"},
                )
            ],
        )
    )

    def passing(**asked: Any) -> list[int]:
        return found(api, mode, category=mode, attributes=asked)

    assert passing(颜色="红") == [red]
    assert passing(颜色=["红", "蓝", "None"]) == [red, blue]
    assert passing(容量={"gte": 25}) == [red, blue]
    assert passing(容量={"gt": 25, "lte": 30.5}) == [blue]
    assert passing(容量=["25", 25]) == [red, plain]
    assert passing(适合="女") == [red, blue]
    assert passing(适合=["男", "孩子"]) == [red]
    assert passing(防水=True) == [red]
    assert passing(颜色="红", 适合="男", 容量={"lt": 25}) == []


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_a_hostile_attribute_matches_itself_and_nothing_else(api: TestClient, value: str) -> None:
    made = create(api, wait=True, attributes={value: [value, 1], f"{value}]": value})
    assert found(api, attributes={value: value}) == [made["product_id"]]
    assert found(api, attributes={f"{value}]": value}) == [made["product_id"]]
    assert found(api, attributes={value: f"{value}。"[:100]}) == (
        [made["product_id"]] if len(value) == 100 else []
    )
    assert api.delete(f"/product/{made['product_id']}").status_code == 204


def test_products_with_and_without_an_image_are_parted(api: TestClient) -> None:
    everything = found(api)
    pictured = found(api, has_image=True)
    assert pictured == found(api, "text_to_image")
    assert sorted(pictured + found(api, has_image=False)) == everything
    assert found(api, "text_to_image", has_image=False) == []


def test_the_time_of_creation_is_compared_to_the_microsecond(api: TestClient) -> None:
    made = create_all(api, [{"category": "时间"}] * 3)
    moments = [product["created_at"] for product in made]
    ids_ = [product["product_id"] for product in made]

    def passing(**ends: str) -> list[int]:
        return found(api, category="时间", created_at=ends)

    assert passing(gte=moments[1]) == ids_[1:]
    assert passing(lte=moments[1]) == ids_[:2]
    assert passing(gte=moments[1], lte=moments[1]) == ids_[1:2]
    assert passing(lte="0001-01-01T00:00:00Z") == []
    assert passing(gte="0001-01-01T00:00:00+00:00", lte="9999-12-31T23:59:59+00:00") == ids_


@pytest.mark.parametrize(
    ("asked", "changed"),
    [
        ({"attributes": {"成色": "新"}}, {"attributes": {"成色": "旧"}}),
        (
            {"created_at": {"gte": "2021-01-01T00:00:00Z"}},
            {"created_at": datetime(2020, 1, 1, tzinfo=UTC)},
        ),
        ({"has_image": False}, {"image_hash": "0" * 64}),
    ],
    ids=["attributes", "created_at", "has_image"],
)
def test_a_row_that_no_longer_passes_is_dropped_though_milvus_still_has_it(
    api: TestClient, asked: dict[str, Any], changed: dict[str, Any]
) -> None:
    made = create(api, wait=True, category="旧货", attributes={"成色": "新"})
    assert made["product_id"] in found(api, category="旧货", **asked)
    change = update(Product).where(Product.id == made["product_id"]).values(changed)
    resources(api).database.write(partial(_executed, statement=change))
    assert made["product_id"] not in found(api, category="旧货", **asked)


def _executed(session: Session, statement: Update) -> None:
    session.execute(statement)


def test_empty_filters_let_all_pass(api: TestClient) -> None:
    everything = found(api)
    assert found(api, brand=None) == everything
    assert found(api, price=None) == everything
    assert found(api, brand=None, category=None) == everything
    assert found(api, attributes=None, has_image=None, created_at=None) == everything
