"""Pictures that are none, or too much: refused with a code, nothing written."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import base64_of, code_of, create, everything, search
from tests.unit import pictures

INVALID = (422, "invalid_image")
TOO_MANY = (422, "image_too_many_pixels")
REFUSED: dict[str, tuple[bytes, tuple[int, str]]] = {
    **{name: (content, INVALID) for name, content in pictures.bad_images().items()},
    "over 10 MB": (pictures.over_ten_megabytes(), (413, "image_too_large")),
    "header of a bomb": (pictures.bomb_header(), TOO_MANY),
    "whole bomb": (pictures.bomb_whole(), TOO_MANY),
    "one very long line": (pictures.bomb_header(2**31 - 1, 1), TOO_MANY),
    "gif frame beyond its screen": (pictures.gif_with_frame_beyond_its_screen(), TOO_MANY),
}


@pytest.fixture(scope="module")
def product(api: TestClient) -> dict[str, Any]:
    """A product with an image."""
    image = base64_of(pictures.encoded(pictures.four_colours(), "PNG"))
    return create(api, wait=True, title="原样", image_base64=image)


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_image_is_refused_everywhere(
    api: TestClient, product: dict[str, Any], name: str
) -> None:
    content, error = REFUSED[name]
    before = everything(api)
    path = f"/product/{product['product_id']}"
    as_json = {"image_base64": base64_of(content)}
    as_file = {"image": ("photo.jpg", content, "image/jpeg")}
    for answer in (
        api.post("/product", json={"title": "新"} | as_json),
        api.post("/product", data={"title": "新"}, files=as_file),
        api.patch(path, json={"title": "新"} | as_json),
        api.patch(path, data={"title": "新"}, files=as_file),
        api.post("/search", json={"mode": "image_to_image"} | as_json),
        api.post("/search", data={"mode": "image_to_text"}, files=as_file),
    ):
        assert code_of(answer) == error
    assert everything(api) == before
    assert api.get(path).json() == product


@pytest.mark.parametrize(
    "text",
    [
        "不是base64",
        "a",
        "=",
        "A-_A",
        "data:image/png,AAAA",
        "http://example.com/a.png",
        "\x00",
        "  ",
    ],
)
def test_a_text_that_is_no_base64_is_refused(
    api: TestClient, product: dict[str, Any], text: str
) -> None:
    before = everything(api)
    for answer in (
        api.post("/product", json={"title": "新", "image_base64": text}),
        api.patch(f"/product/{product['product_id']}", json={"image_base64": text}),
        api.post("/search", json={"mode": "image_to_image", "image_base64": text}),
    ):
        assert code_of(answer) == INVALID
    assert everything(api) == before


def test_an_image_is_told_by_its_bytes_and_not_by_its_name(
    api: TestClient, product: dict[str, Any]
) -> None:
    png = pictures.encoded(pictures.four_colours(), "PNG")
    for name, media_type in (("a.txt", "text/plain"), ("a.exe", ""), ("a.svg", "image/svg+xml")):
        fields = {"mode": "image_to_image"}
        answer = api.post("/search", data=fields, files={"image": (name, png, media_type)})
        assert answer.json()["hits"][0]["product"]["product_id"] == product["product_id"]


def test_the_first_frame_is_what_is_searched(api: TestClient) -> None:
    first = create(api, wait=True, image_base64=base64_of(pictures.animated("WEBP")))
    still = pictures.encoded(pictures.four_colours("RGBA"), "PNG")
    hits = search(api, "image_to_image", image_base64=base64_of(still), top_k=2)
    scores = {hit["product"]["product_id"]: hit["score"] for hit in hits}
    assert scores[first["product_id"]] >= 0.98
