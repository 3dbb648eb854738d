"""Bodies that are large in number or name, or that end too early: a short answer, no product."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from product_search.images.store import content_hash
from tests.api.helpers import Answer, code_of, create, everything, form, resources
from tests.unit.pictures import encoded, four_colours

JSON = {"content-type": "application/json"}
SHORT = 20_000
TITLE = ('Content-Disposition: form-data; name="title"', "书包".encode())
PHOTO = encoded(four_colours(), "PNG")
FILE = ('Content-Disposition: form-data; name="image"; filename="a.png"', PHOTO)
ROUTES = [("POST", "/product"), ("PATCH", "/product/1"), ("POST", "/search")]
IDS = ["create", "update", "search"]


@pytest.fixture(scope="module", autouse=True)
def product(api: TestClient) -> dict[str, Any]:
    """The product that the PATCH of ROUTES is sent to."""
    made = create(api, title="原样")
    assert made["product_id"] == 1
    return made


def assert_short(answer: Answer) -> None:
    """Refused in few words, all of which are read."""
    assert code_of(answer) == (422, "invalid_request")
    assert len(answer.content) < SHORT


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=IDS)
def test_very_many_unknown_fields_are_refused_in_short(
    api: TestClient, method: str, path: str
) -> None:
    text = json.dumps({f"字段{number}": 0 for number in range(200_000)}, ensure_ascii=False)
    before = everything(api)
    assert_short(api.request(method, path, content=text.encode(), headers=JSON))
    assert everything(api) == before


@pytest.mark.parametrize("name", ["attributes", "filters"])
@pytest.mark.parametrize(("method", "path"), ROUTES, ids=IDS)
def test_a_million_numbers_are_refused_in_short(
    api: TestClient, method: str, path: str, name: str
) -> None:
    values = {"title": "书包", name: {"a": [0] * 1_000_000}}
    assert_short(api.request(method, path, content=json.dumps(values), headers=JSON))


@pytest.mark.parametrize("inside", [None, "filters"])
@pytest.mark.parametrize(("method", "path"), ROUTES, ids=IDS)
def test_a_field_with_a_very_long_name_is_refused_in_short(
    api: TestClient, method: str, path: str, inside: str | None
) -> None:
    unknown: dict[str, Any] = {"x" * 1_000_000: 1}
    values = {inside: unknown} if inside else unknown
    assert_short(api.request(method, path, json={"title": "书包"} | values))


def test_a_form_field_with_a_very_long_name_is_refused_in_short(api: TestClient) -> None:
    name = "x" * 4_000  # more than that is too long for the header of a part
    part = (f'Content-Disposition: form-data; name="{name}"', b"1")
    assert_short(api.post("/product", **form("xyz", TITLE, part)))


def test_a_query_parameter_with_a_very_long_name_is_refused_in_short(api: TestClient) -> None:
    assert_short(api.get("/product/list", params={"x" * 50_000: "1"}))


def test_very_long_values_are_refused_in_short(api: TestClient) -> None:
    long = "x" * 1_000_000
    values: dict[str, Any]
    for values in ({"title": long}, {"price": long}, {"title": "a", "sku": long}):
        assert_short(api.post("/product", json=values))
    query = {"mode": "text_to_text", "text": "书包"}
    for values in ({"mode": long}, {"text": long}, {"filters": {"brand": [long] * 3}}):
        assert_short(api.post("/search", json=query | values))


@pytest.mark.parametrize("missing", range(1, len("\r\n--xyz--") + 1))
@pytest.mark.parametrize("last", [TITLE, FILE], ids=["text", "file"])
def test_a_form_whose_end_is_missing_writes_nothing(
    api: TestClient, last: tuple[str, bytes], missing: int
) -> None:
    first = TITLE if last is FILE else FILE
    body = form("xyz", first, last)
    body["content"] = body["content"].removesuffix(b"\r\n")[:-missing]
    before = everything(api)
    assert code_of(api.post("/product", **body)) == (422, "invalid_request")
    assert everything(api) == before


def test_a_form_whose_image_is_cut_in_the_middle_writes_nothing(api: TestClient) -> None:
    body = form("xyz", TITLE, FILE)
    body["content"] = body["content"][: -len(PHOTO) // 2]
    before = everything(api)
    assert code_of(api.post("/product", **body)) == (422, "invalid_request")
    assert everything(api) == before


@pytest.mark.parametrize(
    "ending", [b"", b"\r\n", b"\r\n\r\n", b"\r\nan epilogue, which says nothing"]
)
def test_whatever_follows_the_end_of_a_form_does_not_matter(api: TestClient, ending: bytes) -> None:
    body = form("xyz", TITLE, FILE)
    body["content"] = body["content"].removesuffix(b"\r\n") + ending
    answer = api.post("/product", **body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["title"] == "书包"
    assert api.get(answer.json()["image_url"]).content == PHOTO


def test_a_file_that_holds_the_boundary_of_another_form_is_whole(api: TestClient) -> None:
    content = PHOTO + b"\r\n--xy--\r\n"
    answer = api.post("/product", **form("xyz", TITLE, (FILE[0], content)))
    assert answer.status_code == 201, answer.text
    assert resources(api).images.original(content_hash(content)).content == content
