"""POST /product/titles: titles for an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from product_search.schemas import examples
from product_search.search.titles import KIND_LINE
from product_search.settings import Settings
from tests.api.helpers import base64_of, calibrated, code_of, create, create_all, fields_of

CURVE = {"coefficients": {"image_to_text": 20.0}, "intercept": -8.0, "line": 0.4}
ROWS: list[dict[str, Any]] = [
    {"title": "红富士苹果 5斤装", "attributes": {"颜色": "红", "口味": "甜"}},
    {"title": "红苹果 脆甜", "attributes": {"颜色": "红", "产地": ["陕西"]}},
    {"title": "红苹果　脆甜", "attributes": {"颜色": "红"}},  # the same but for its space
    {"title": "大红苹果 礼盒", "attributes": {"颜色": "红", "枚数": 6}},
    {"title": "变压器 220V", "category": "工业设备"},
    {"title": "长柄雨伞", "category": "家居日用"},
]


@pytest.fixture(scope="module")
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service whose image-to-title scores were calibrated."""
    with calibrated(open_settings(), image_to_text=CURVE) as client:
        yield client


@pytest.fixture(scope="module")
def apple(sample_image: Callable[[str], bytes]) -> bytes:
    return sample_image("1f34e.webp")


@pytest.fixture(scope="module", autouse=True)
def catalog(api: TestClient, apple: bytes) -> list[dict[str, Any]]:
    rows = [{"category": "生鲜果蔬"} | row for row in ROWS]
    rows[0]["image_base64"] = base64_of(apple)
    return create_all(api, rows)


def titles(api: TestClient, **fields: Any) -> dict[str, Any]:
    answer = api.post("/product/titles", json=fields)
    assert answer.status_code == 200, answer.text
    return cast(dict[str, Any], answer.json())


def test_the_nearest_titles_come_each_once(api: TestClient, apple: bytes) -> None:
    answer = titles(api, image_base64=base64_of(apple))
    found = [one["title"].replace("　", " ") for one in answer["titles"]]
    assert set(found[:3]) == {"红富士苹果 5斤装", "红苹果 脆甜", "大红苹果 礼盒"}
    assert len(set(found)) == len(found)
    scores = [one["score"] for one in answer["titles"]]
    assert scores == sorted(scores, reverse=True)
    assert all(KIND_LINE <= one["confidence"] <= 1 for one in answer["titles"])
    assert not answer["no_match"]


def test_the_suggestion_is_what_the_best_titles_agree_on(api: TestClient, apple: bytes) -> None:
    assert titles(api, image_base64=base64_of(apple))["suggestion"] == {
        "title": "红色 苹果",
        "category": "生鲜果蔬",
        "attributes": {"颜色": "红"},
        "words": ["苹果"],
    }


def test_a_product_is_not_given_its_own_title(
    api: TestClient, catalog: list[dict[str, Any]]
) -> None:
    product = catalog[0]["product_id"]
    answer = titles(api, product_id=product, top_k=20)
    assert product not in {one["product_id"] for one in answer["titles"]}
    assert answer["suggestion"]["words"] == ["苹果"]


def test_an_image_may_come_as_a_file(api: TestClient, apple: bytes) -> None:
    answer = api.post(
        "/product/titles", data={"top_k": "2"}, files={"image": ("a.webp", apple, "image/webp")}
    )
    assert answer.status_code == 200, answer.text
    by_json = titles(api, image_base64=base64_of(apple), top_k=2)
    assert answer.json()["titles"] == by_json["titles"]
    assert len(by_json["titles"]) == 2


def test_fewer_titles_leave_the_suggestion_as_it_is(api: TestClient, apple: bytes) -> None:
    picture = base64_of(apple)
    one, all_ = (titles(api, image_base64=picture, top_k=top_k) for top_k in (1, 20))
    assert one["suggestion"] == all_["suggestion"]
    assert one["titles"] == all_["titles"][:1]


def test_an_image_that_nothing_fits_has_no_title(
    open_settings: Callable[[], Settings], png: Callable[..., bytes]
) -> None:
    with calibrated(open_settings(), image_to_text=CURVE | {"intercept": -30.0}) as api:
        create(api, wait=True, title="变压器 220V")
        answer = titles(api, image_base64=base64_of(png()))
    assert (answer["titles"], answer["no_match"], answer["suggestion"]) == ([], True, None)


def test_uncalibrated_all_titles_count(open_settings: Callable[[], Settings], apple: bytes) -> None:
    with calibrated(open_settings()) as api:
        create_all(api, ROWS[:2])
        answer = titles(api, image_base64=base64_of(apple))
    assert [one["confidence"] for one in answer["titles"]] == [None, None]
    assert answer["suggestion"]["words"] == ["苹果"]


def test_the_example_works_with_a_product_that_is_there(api: TestClient) -> None:
    assert titles(api, **examples.TITLES | {"product_id": 1})["titles"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, set()),
        ({"product_id": 1, "image_base64": "AA=="}, set()),
        ({"product_id": 0}, {"product_id"}),
        ({"product_id": 1, "top_k": 0}, {"top_k"}),
        ({"product_id": 1, "top_k": 21}, {"top_k"}),
        ({"product_id": 1, "text": "苹果"}, {"text"}),
    ],
)
def test_a_bad_request_says_what_is_wrong(
    api: TestClient, body: dict[str, Any], fields: set[str]
) -> None:
    answer = api.post("/product/titles", json=body)
    assert code_of(answer) == (422, "invalid_request")
    assert fields_of(answer) == fields


def test_a_product_must_have_an_image(api: TestClient, catalog: list[dict[str, Any]]) -> None:
    plain = {"product_id": catalog[1]["product_id"]}
    assert code_of(api.post("/product/titles", json=plain)) == (422, "product_without_image")
    gone = {"product_id": 999_999}
    assert code_of(api.post("/product/titles", json=gone)) == (404, "product_not_found")
    damaged = {"image_base64": base64_of(b"no")}
    assert code_of(api.post("/product/titles", json=damaged)) == (422, "invalid_image")
