"""POST /match: whether an image shows what a title says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from product_search.batching import is_in_background
from product_search.schemas import examples
from product_search.settings import Settings
from tests.api.helpers import base64_of, calibrated, code_of, create, fields_of, resources, search

CURVE = {"coefficients": {"image_to_text": 20.0}, "intercept": -6.0, "line": 0.5}
TITLE = "红富士苹果"


@pytest.fixture(scope="module")
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service whose image-to-title scores were calibrated: the line is at a cosine of 0.3."""
    with calibrated(open_settings(), pairs=CURVE) as client:
        yield client


@pytest.fixture(scope="module")
def apple(sample_image: Callable[[str], bytes]) -> str:
    return base64_of(sample_image("1f34e.webp"))


@pytest.fixture(scope="module")
def umbrella(sample_image: Callable[[str], bytes]) -> str:
    return base64_of(sample_image("2602-red.webp"))


@pytest.fixture(scope="module", autouse=True)
def product(api: TestClient, apple: str) -> dict[str, Any]:
    return create(api, wait=True, title=TITLE, image_base64=apple)


def pairs(api: TestClient, **fields: Any) -> list[dict[str, Any]]:
    answer = api.post("/match", json=fields)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["pairs"]
    return found


def test_an_image_is_judged_against_each_title_in_their_order(api: TestClient, apple: str) -> None:
    texts = [{"text": text} for text in ("苹果", "雨伞", "红苹果", "变压器")]
    found = pairs(api, image={"image_base64": apple}, texts=texts)
    assert [one["verdict"] for one in found] == ["match", "mismatch", "match", "mismatch"]
    assert [one["label"] for one in found] == ["图文相符", "图文不符", "图文相符", "图文不符"]
    assert all((one["confidence"] >= 0.5) == (one["score"] >= 0.3) for one in found)


def test_a_title_is_judged_against_each_image_in_their_order(
    api: TestClient, apple: str, umbrella: str
) -> None:
    images = [{"image_base64": one} for one in (umbrella, apple, umbrella)]
    found = pairs(api, text={"text": "雨伞"}, images=images)
    assert [one["verdict"] for one in found] == ["match", "mismatch", "match"]
    assert found[0] == found[2]


def test_what_is_matched_waits_for_what_is_searched(
    api: TestClient, apple: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = type(resources(api).encoders.image_text)
    gave_way: list[bool] = []

    def noting(encode: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            gave_way.append(is_in_background())
            return encode(*arguments)

        return noted

    for name in ("encode_images", "encode_texts"):
        monkeypatch.setattr(encoder, name, noting(getattr(encoder, name)))
    pairs(api, image={"image_base64": apple}, texts=[{"text": "水果"}])
    assert gave_way == [True, True]


def test_both_ways_of_asking_give_the_same_score(api: TestClient, apple: str) -> None:
    (one,) = pairs(api, image={"image_base64": apple}, texts=[{"text": "水果"}])
    (other,) = pairs(api, text={"text": "水果"}, images=[{"image_base64": apple}])
    assert one == other


def test_a_products_image_and_title_stand_for_themselves(
    api: TestClient, apple: str, product: dict[str, Any]
) -> None:
    its = {"product_id": product["product_id"]}
    (by_product,) = pairs(api, image=its, texts=[its])
    (by_hand,) = pairs(api, text={"text": TITLE}, images=[{"image_base64": apple}])
    assert by_product == by_hand
    (hit,) = search(api, "image_to_text", image_base64=apple, min_confidence=0)
    assert by_product["score"] == pytest.approx(hit["score"], abs=1e-5)


def test_a_product_need_not_be_indexed(api: TestClient, apple: str) -> None:
    fresh = create(api, wait=True, title="红苹果", image_base64=apple)
    resources(api).entities.delete([int(fresh["milvus_id"])])
    its = {"product_id": fresh["product_id"]}
    assert pairs(api, image=its, texts=[its])[0]["verdict"] == "match"
    assert api.delete(f"/product/{fresh['product_id']}").status_code == 204


def test_uncalibrated_there_is_a_score_and_no_verdict(
    open_settings: Callable[[], Settings], apple: str
) -> None:
    with calibrated(open_settings()) as api:
        (found,) = pairs(api, image={"image_base64": apple}, texts=[{"text": "苹果"}])
    assert found["score"] > 0.3
    assert (found["confidence"], found["verdict"], found["label"]) == (None, None, None)


def test_so_many_may_be_given_and_no_more(api: TestClient, product: dict[str, Any]) -> None:
    its = {"product_id": product["product_id"]}
    assert len(pairs(api, image=its, texts=[{"text": "苹果"}] * 64)) == 64
    assert len(pairs(api, text=its, images=[its] * 64)) == 64
    for many in ({"image": its, "texts": [its] * 65}, {"text": its, "images": []}):
        answer = api.post("/match", json=many)
        assert code_of(answer) == (422, "invalid_request")
        assert fields_of(answer) <= {"texts", "images"}


@pytest.mark.parametrize(
    "names",
    [
        ("image",),
        ("texts",),
        ("image", "images"),
        ("text", "texts"),
        ("image", "texts", "text"),
        ("image", "texts", "images"),
        (),
    ],
)
def test_it_is_one_with_many(api: TestClient, names: tuple[str, ...]) -> None:
    its = {"product_id": 1}
    body = {name: [its] if name.endswith("s") else its for name in names}
    answer = api.post("/match", json=body)
    assert code_of(answer) == (422, "invalid_request")
    assert fields_of(answer) == set()


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        ({"image_base64": base64_of(b"no picture")}, 422, "invalid_image"),
        ({"image_base64": "!"}, 422, "invalid_image"),
        ({"product_id": 999_999}, 404, "product_not_found"),
        ({"product_id": 1, "image_base64": "AA=="}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
        ({"text": "苹果"}, 422, "invalid_request"),
    ],
)
def test_what_is_wrong_among_the_many_is_named_by_its_place(
    api: TestClient, apple: str, image: dict[str, Any], status: int, code: str
) -> None:
    images = [{"image_base64": apple}] * 3 + [image]
    answer = api.post("/match", json={"text": {"text": "苹果"}, "images": images})
    assert code_of(answer) == (status, code)
    assert {field[: len("images.3")] for field in fields_of(answer)} == {"images.3"}


def test_the_one_that_is_wrong_is_named_too(api: TestClient) -> None:
    damaged = {"image": {"image_base64": base64_of(b"no")}, "texts": [{"text": "苹果"}]}
    answer = api.post("/match", json=damaged)
    assert (code_of(answer), fields_of(answer)) == ((422, "invalid_image"), {"image"})
    lost = {"image": {"product_id": 1}, "texts": [{"text": "苹果"}, {"product_id": 999_999}]}
    answer = api.post("/match", json=lost)
    assert (code_of(answer), fields_of(answer)) == ((404, "product_not_found"), {"texts.1"})


def test_a_product_without_an_image_shows_nothing(api: TestClient) -> None:
    its = {"product_id": create(api, title="没有图片")["product_id"]}
    answer = api.post("/match", json={"text": {"text": "苹果"}, "images": [its]})
    assert (code_of(answer), fields_of(answer)) == ((422, "product_without_image"), {"images.0"})


def test_the_examples_work_as_they_are_pasted(api: TestClient, product: dict[str, Any]) -> None:
    assert product["product_id"] == 1  # which the examples name
    for example in examples.MATCHES:
        assert pairs(api, **example)
