"""Values out of bounds: refused by name, with a stable code, nothing half-written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import base64_of, code_of, create, everything, fields_of
from tests.unit.pictures import encoded, four_colours

PNG = base64_of(encoded(four_colours(), "PNG"))
BLANK = ["", " ", "\t\r\n", "　", "\x00", "\x01\x1f\x7f", "\u200b\ufeff"]
HUGE = 10**30


@pytest.fixture(scope="module")
def product(api: TestClient) -> dict[str, Any]:
    """A product to change."""
    return create(api, wait=True, sku="HERE", title="原样", image_base64=PNG)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(field, text) for field in ("title", "sku", "category", "brand") for text in BLANK],
        ("title", None),
        ("title", "x" * 501),
        ("title", 5),
        ("title", ["x"]),
        ("title", True),
        ("sku", "x" * 101),
        ("sku", 5),
        ("category", "🎒" * 101),
        ("category", ["箱包"]),
        ("brand", "x" * 101),
        ("brand", {}),
        ("description", "x" * 5001),
        ("description", 1.5),
        ("attributes", []),
        ("attributes", "{}"),
        ("attributes", {"a": 2**64}),
        ("attributes", {"a": "x" * 20_000}),
        ("price", -1),
        ("price", -0.01),
        ("price", "-1"),
        ("price", 0.001),
        ("price", "19.999"),
        ("price", "1e3"),
        ("price", "NaN"),
        ("price", "Infinity"),
        ("price", "-inf"),
        ("price", "１２"),
        ("price", "１２.３"),
        ("price", "1,000"),
        ("price", ""),
        ("price", " 1"),
        ("price", "1\n"),
        ("price", "abc"),
        ("price", True),
        ("price", False),
        ("price", [1]),
        ("price", {"amount": 1}),
        ("price", 10**10),
        ("price", HUGE),
        ("price", 1e308),
        ("image_base64", 5),
        ("image_base64", []),
        ("revision", 7),
        ("product_id", 7),
        ("milvus_id", "7"),
        ("index_status", "indexed"),
        ("created_at", "2020-01-01T00:00:00Z"),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_a_product_with_such_a_field_is_refused(
    api: TestClient, product: dict[str, Any], field: str, value: object
) -> None:
    before = everything(api)
    for answer in (
        api.post("/product", json={"title": "书包", field: value}),
        api.patch(f"/product/{product['product_id']}", json={field: value}),
    ):
        assert code_of(answer) == (422, "invalid_request")
        assert {name.partition(".")[0] for name in fields_of(answer)} == {field}
    assert everything(api) == before


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1E+309"])
@pytest.mark.parametrize("field", ["price", "attributes"])
def test_a_number_that_becomes_infinite_is_refused(
    api: TestClient, field: str, number: str
) -> None:
    before = everything(api)
    value = number if field == "price" else f'{{"a": {number}}}'
    content = f'{{"title": "x", "{field}": {value}}}'
    answer = api.post("/product", content=content, headers={"content-type": "application/json"})
    assert code_of(answer) == (422, "invalid_request")
    assert everything(api) == before


def test_a_product_without_a_title_is_refused(api: TestClient) -> None:
    answer = api.post("/product", json={"price": 1})
    assert code_of(answer) == (422, "invalid_request")
    assert fields_of(answer) == {"title"}


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "product_id",
    [
        "0",
        "-1",
        "abc",
        "1.5",
        "1e3",
        str(2**63),
        str(HUGE),
        "%00",
        "%ff",
        "一",
        "1'--",
        "NaN",
        "x" * 5000,
    ],
)
def test_a_product_id_that_is_none_is_refused(
    api: TestClient, method: str, product_id: str
) -> None:
    body = {"title": "x"} if method == "PATCH" else None
    answer = api.request(method, f"/product/{product_id}", json=body)
    assert code_of(answer) in {(422, "invalid_request"), (404, "product_not_found")}
    picture = api.get(f"/product/{product_id}/image")
    assert code_of(picture) in {(422, "invalid_request"), (404, "product_not_found")}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page", "0"),
        ("page", "-1"),
        ("page", "1000001"),
        ("page", str(HUGE)),
        ("page", "one"),
        ("page", ""),
        ("page", "1.5"),
        ("page_size", "0"),
        ("page_size", "101"),
        ("page_size", "-5"),
        ("page_size", "many"),
        ("category", ""),
        ("category", " "),
        ("category", "x" * 101),
        ("brand", "\x01"),
        ("min_price", "-1"),
        ("min_price", "NaN"),
        ("min_price", "Infinity"),
        ("min_price", "1e3"),
        ("max_price", "abc"),
        ("max_price", ""),
        ("max_price", "0.001"),
        ("q", ""),
        ("q", "x" * 501),
        ("index_status", "done"),
        ("sort", "title"),
        ("sort", "id; DROP TABLE product"),
        ("after_id", "-1"),
        ("after_id", "x"),
        ("after_id", str(2**63)),
        ("colour", "red"),
        ("size", "64"),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_a_list_with_such_a_parameter_is_refused(api: TestClient, name: str, value: str) -> None:
    answer = api.get("/product/list", params={name: value})
    assert code_of(answer) == (422, "invalid_request")
    assert fields_of(answer) == {name}


@pytest.mark.parametrize(
    "parameters",
    [
        {"min_price": "2", "max_price": "1"},
        {"after_id": "0", "page": "1"},
        {"after_id": "0", "sort": "newest"},
    ],
)
def test_parameters_that_contradict_each_other_are_refused(
    api: TestClient, parameters: dict[str, str]
) -> None:
    answer = api.get("/product/list", params=parameters)
    assert code_of(answer) == (422, "invalid_request")


def test_broken_bytes_in_a_query_are_no_server_error(api: TestClient) -> None:
    for query in ("q=%ff%fe", "category=%ed%a0%80", "q=%00", "%ff=1", "&&&", "page=%31"):
        answer = api.get(f"/product/list?{query}")
        assert answer.status_code == 200 or code_of(answer) == (422, "invalid_request")


def test_wait_is_true_or_false(api: TestClient, product: dict[str, Any]) -> None:
    before = everything(api)
    for method, path in (("POST", "/product"), ("PATCH", f"/product/{product['product_id']}")):
        answer = api.request(method, f"{path}?wait=maybe", json={"title": "别的"})
        assert code_of(answer) == (422, "invalid_request")
        assert fields_of(answer) == {"wait"}
    assert everything(api) == before


def search_of(**fields: Any) -> dict[str, Any]:
    base = {} if {"product_id", "image_base64"} & set(fields) else {"text": "书包"}
    return {"mode": "text_to_text"} | base | fields


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("text", text) for text in BLANK],
        ("text", "x" * 513),
        ("text", 5),
        ("text", []),
        ("mode", "fuzzy"),
        ("mode", "TEXT_TO_TEXT"),
        ("mode", ""),
        ("mode", 1),
        ("top_k", 0),
        ("top_k", 101),
        ("top_k", -1),
        ("top_k", HUGE),
        ("top_k", 1.5),
        ("top_k", "many"),
        ("top_k", None),
        ("offset", -1),
        ("offset", 10_001),
        ("offset", HUGE),
        ("product_id", 0),
        ("product_id", -1),
        ("product_id", 2**63),
        ("product_id", HUGE),
        ("product_id", "word"),
        ("product_id", 1.5),
        ("filters", []),
        ("filters", "brand"),
        ("filters", {"colour": "red"}),
        ("filters", {"brand": ""}),
        ("filters", {"brand": []}),
        ("filters", {"brand": [1]}),
        ("filters", {"brand": ["x"] * 101}),
        ("filters", {"category": "x" * 101}),
        ("filters", {"category": {"like": "%"}}),
        ("filters", {"price": {}}),
        ("filters", {"price": 5}),
        ("filters", {"price": {"gte": -1}}),
        ("filters", {"price": {"gte": "NaN"}}),
        ("filters", {"price": {"gte": 2, "lte": 1}}),
        ("filters", {"price": {"gt": 2}}),
        ("filters", {"price": {"lte": HUGE}}),
        ("filters", {"attributes": {"颜色": {"like": "%"}}}),
        ("filters", {"attributes": {"颜色": []}}),
        ("filters", {"attributes": {"颜色": {"gte": 2, "lte": 1}}}),
        ("filters", {"attributes": {"颜色": HUGE}}),
        ("filters", {"has_image": 1}),
        ("filters", {"created_at": {"gte": "2026-01-01T00:00:00"}}),
        ("filter", {"brand": "x"}),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_a_search_with_such_a_field_is_refused(api: TestClient, field: str, value: object) -> None:
    answer = api.post("/search", json=search_of(**{field: value}))
    assert code_of(answer) == (422, "invalid_request")
    assert {name.partition(".")[0] for name in fields_of(answer)} == {field}


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "text_to_text"},
        {"mode": "text_to_image"},
        {"mode": "image_to_image"},
        {"mode": "image_to_text"},
        {"mode": "text_to_text", "text": None},
        {"mode": "text_to_text", "image_base64": PNG},
        {"mode": "text_to_image", "text": "x", "image_base64": PNG},
        {"mode": "text_to_text", "text": "x", "product_id": 1},
        {"mode": "image_to_image", "text": "x"},
        {"mode": "image_to_text", "text": "x", "image_base64": PNG},
        {"mode": "image_to_image", "image_base64": PNG, "product_id": 1},
        {"mode": "hybrid"},
        {},
    ],
    ids=str,
)
def test_a_mode_without_its_input_or_with_two_is_refused(
    api: TestClient, fields: dict[str, Any]
) -> None:
    assert code_of(api.post("/search", json=fields)) == (422, "invalid_request")


def test_a_mode_with_a_file_and_another_input_is_refused(api: TestClient) -> None:
    content = encoded(four_colours(), "PNG")
    for fields in (
        {"mode": "text_to_text"},
        {"mode": "text_to_image", "text": "x"},
        {"mode": "image_to_image", "text": "x"},
        {"mode": "image_to_image", "product_id": "1"},
        {"mode": "image_to_image", "image_base64": PNG},
        {"mode": "image_to_image", "top_k": "many"},
        {"mode": "image_to_image", "filters": json.dumps({"colour": 1})},
    ):
        answer = api.post("/search", data=fields, files={"image": ("a.png", content)})
        assert code_of(answer) == (422, "invalid_request")
