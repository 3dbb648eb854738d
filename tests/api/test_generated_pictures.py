"""Generated images: searched with, attached to products, and told from photos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.helpers import base64_of, code_of, create
from tests.api.studio import (
    Studio,
    pipeline as pipeline,
    shop as shop,
    some as some,
    with_model as with_model,
)
from tests.clock import until


def test_a_generated_image_is_the_query_of_a_search(shop: Studio, some: dict[str, Any]) -> None:
    wanted = {"generation_id": some["generation_id"], "number": 1}
    same = create(shop.api, wait=True, title="同一张", image_base64=base64_of(shop.picture(some)))
    for query in (
        {"generation": wanted},
        {"generation": wanted, "region": [0, 0, 250, 250], "mode": "image_to_image"},
        {"parts": [{"generation": wanted}]},
    ):
        answer = shop.api.post("/search", json=query | {"min_confidence": 0})
        assert answer.status_code == 200, answer.text
        assert answer.json()["hits"][0]["product"]["product_id"] == same["product_id"]
    assert answer.json()["mode"] == "hybrid"
    form = {"generation": f'{{"generation_id": {some["generation_id"]}}}', "min_confidence": "0"}
    file = {"text": (None, "同一张")}  # makes it multipart
    assert shop.api.post("/search", data=form, files=file).status_code == 200
    unknown = {"generation": {"generation_id": 9_999}}
    absent = {"generation": wanted | {"number": 2}}
    batch = shop.api.post("/search/batch", json={"queries": [{"generation": wanted}, unknown]})
    first, second = batch.json()["results"]
    assert first["hits"][0]["product"]["image_generated"] is True
    assert second["code"] == "generation_not_found"
    assert code_of(shop.api.post("/search", json=unknown)) == (404, "generation_not_found")
    assert code_of(shop.api.post("/search", json=absent)) == (404, "image_not_found")


@pytest.mark.parametrize(
    "query",
    [
        {"generation": {"generation_id": 1}, "image_base64": "aGk="},
        {"generation": {"generation_id": 1}, "mode": "text_to_image", "text": "包"},
        {"generation": {"generation_id": 0}},
        {"generation": {"generation_id": 1, "number": 5}},
        {"generation": 1},
        {"parts": [{"generation": {"generation_id": 1}, "text": "包"}]},
        {
            "parts": [
                {"generation": {"generation_id": 1}},
                {"generation": {"generation_id": 1}, "weight": -1},
            ]
        },
    ],
)
def test_a_query_that_contradicts_itself_is_refused(shop: Studio, query: dict[str, Any]) -> None:
    assert code_of(shop.api.post("/search", json=query)) == (422, "invalid_request")


def test_a_product_with_a_generated_image_says_so(
    shop: Studio, some: dict[str, Any], png: Callable[..., bytes]
) -> None:
    wanted = {"generation_id": some["generation_id"], "number": 1}
    product = create(shop.api, wait=True, title="画的", generation=wanted)
    path = f"/product/{product['product_id']}"
    assert product["image_generated"] is True
    assert shop.api.get(f"{path}/image").content == shop.picture(some)

    def change(**fields: Any) -> bool:
        answer = shop.api.patch(path, json=fields)
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["image_generated"])

    assert change(title="画的二") is True
    assert change(image_base64=base64_of(png("blue"))) is False
    assert change(generation=wanted) is True
    assert change(image_base64=None) is False
    # However the file comes, it says of itself what it is.
    assert change(image_base64=base64_of(shop.picture(some))) is True


def test_what_can_not_be_attached_is_refused(shop: Studio, png: Callable[..., bytes]) -> None:
    path = f"/product/{create(shop.api)['product_id']}"
    for body, code in (
        ({"generation": None}, (422, "invalid_request")),
        ({"generation": {"generation_id": 9_999}}, (404, "generation_not_found")),
        (
            {"generation": {"generation_id": 1}, "image_base64": base64_of(png())},
            (422, "invalid_request"),
        ),
    ):
        assert code_of(shop.api.patch(path, json=body)) == code
    form = {"generation": '{"generation_id": 1}'}
    answer = shop.api.patch(path, data=form, files={"image": ("a.png", png(), "image/png")})
    assert code_of(answer) == (422, "invalid_request")
    assert shop.api.get(path).json()["image_url"] is None


def test_generated_images_make_no_duplicates(shop: Studio, some: dict[str, Any]) -> None:
    wanted = {"generation_id": some["generation_id"], "number": 1}
    create(shop.api, wait=True, title="红苹果", generation=wanted)
    answer = shop.api.post("/product?wait=true", json={"title": "红雨伞", "generation": wanted})
    assert answer.json()["duplicates"] == []
    shop.api.post("/product/duplicates")
    until(
        lambda: shop.api.get("/product/duplicates").json()["newest"]["state"] == "done",
        "the search for duplicates",
    )
    groups = shop.api.get("/product/duplicates").json()["groups"]
    both = {answer.json()["product_id"], answer.json()["product_id"] - 1}
    assert not any(both <= set(group["product_ids"]) for group in groups)
