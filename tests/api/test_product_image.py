"""GET /product/{product_id}/image: original and thumbnails, tags, caches."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from product_search.images.store import content_hash
from tests.api.helpers import base64_of, code_of, create, resources
from tests.unit.pictures import encoded, file_of, four_colours, good_images

PHOTO = encoded(four_colours(size=(400, 200)), "JPEG")


@pytest.fixture(scope="module")
def url(api: TestClient) -> str:
    """The address of a product's image."""
    return str(create(api, image_base64=base64_of(PHOTO))["image_url"])


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("jpeg", "image/jpeg"),
        ("png", "image/png"),
        ("animated gif", "image/gif"),
        ("webp", "image/webp"),
    ],
)
def test_an_image_that_says_nothing_of_itself_comes_as_it_was_sent(
    api: TestClient, name: str, media_type: str
) -> None:
    content = good_images()[name]
    answer = api.get(create(api, image_base64=base64_of(content))["image_url"])
    assert answer.content == content
    assert answer.headers["content-type"] == media_type
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("size", [64, 128, 256, 512, 1024])
def test_a_thumbnail_fits_into_its_size(api: TestClient, url: str, size: int) -> None:
    answer = api.get(url, params={"size": size})
    image = Image.open(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == "image/webp"
    assert image.size == (min(size, 400), min(size, 400) // 2)


@pytest.mark.parametrize("size", ["65", "0", "-64", "big", "", "64.0", "99999999999999999999"])
def test_an_unknown_size_is_refused(api: TestClient, url: str, size: str) -> None:
    answer = api.get(url, params={"size": size})
    assert code_of(answer) == (422, "invalid_request")
    assert set(answer.json()["fields"]) == {"size"}


def test_a_known_tag_is_answered_with_304_and_no_body(api: TestClient, url: str) -> None:
    for address in (url, f"{url}?size=64"):
        first = api.get(address)
        tag = first.headers["etag"]
        assert first.status_code == 200
        assert first.headers["cache-control"]
        for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = api.get(address, headers={"if-none-match": sent})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag


def test_another_tag_is_answered_with_the_image(api: TestClient, url: str) -> None:
    tag = api.get(f"{url}?size=64").headers["etag"]
    for sent in (tag, '"other"', "", "garbage"):
        answer = api.get(url, headers={"if-none-match": sent})
        assert (answer.status_code, answer.content) == (200, PHOTO)


def test_the_tag_changes_with_the_image(api: TestClient, png: Callable[..., bytes]) -> None:
    product = create(api, image_base64=base64_of(PHOTO))
    tag = api.get(product["image_url"]).headers["etag"]
    path = f"/product/{product['product_id']}"
    assert api.patch(path, json={"image_base64": base64_of(png())}).status_code == 200
    answer = api.get(product["image_url"], headers={"if-none-match": tag})
    assert (answer.status_code, answer.content) == (200, png())


def test_a_product_without_an_image_has_none_to_show(api: TestClient) -> None:
    path = f"/product/{create(api)['product_id']}/image"
    assert code_of(api.get(path)) == (404, "image_not_found")
    assert code_of(api.get(f"{path}?size=64")) == (404, "image_not_found")


def test_an_image_whose_file_is_gone_is_not_found(
    api: TestClient, png: Callable[..., bytes]
) -> None:
    product = create(api, image_base64=base64_of(png("navy")))
    images = resources(api).images
    image_hash = content_hash(png("navy"))
    file_of(images, image_hash).unlink()
    assert code_of(api.get(product["image_url"])) == (404, "image_not_found")
    assert code_of(api.get(f"{product['image_url']}?size=64")) == (404, "image_not_found")
