"""Files of the image store that are damaged: what they touch says so, all else goes on."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.images.store import content_hash
from product_search.settings import Settings
from tests.api.helpers import base64_of, code_of, create, ids, resources, search
from tests.unit.pictures import encoded, file_of, noise


def _replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _cut_in_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "folder": _replace_by_a_folder,
    "empty": _empty,
    "truncated": _truncate,
    "header only": _cut_in_the_header,
}
KINDS = ["PNG", "JPEG"]


@dataclass(frozen=True)
class Damaged:
    """A product that was indexed whole, and its image, whose file was damaged afterwards."""

    product: dict[str, Any]
    content: bytes
    path: Path

    @property
    def url(self) -> str:
        return f"/product/{self.product['product_id']}"


@pytest.fixture(scope="module")
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service that gives a product up at its first failure."""
    settings = open_settings().model_copy(update={"index_max_attempts": 1})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def path_of(api: TestClient, content: bytes) -> Path:
    image_hash = content_hash(content)
    return file_of(resources(api).images, image_hash)


@pytest.fixture(params=[(damage, kind) for damage in DAMAGES for kind in KINDS], ids="-".join)
def damaged(request: pytest.FixtureRequest, api: TestClient) -> Iterator[Damaged]:
    """Each damage to each kind of image, which no other test has stored."""
    damage, kind = request.param
    seed = zlib.crc32(request.node.name.encode())
    content = encoded(noise((60, 50), seed), kind)
    product = create(api, wait=True, title="受损的", image_base64=base64_of(content))
    assert product["index_status"] == "indexed"
    path = path_of(api, content)
    DAMAGES[damage](path)
    yield Damaged(product, content, path)
    assert api.delete(f"/product/{product['product_id']}").status_code == 204


def test_a_damaged_image_is_not_found(api: TestClient, damaged: Damaged) -> None:
    for size in ("", "?size=64", "?size=1024"):
        answer = api.get(f"{damaged.url}/image{size}")
        assert code_of(answer) == (404, "image_not_found")


@pytest.mark.parametrize("mode", ["image_to_image", "image_to_text"])
def test_a_damaged_image_is_no_query(api: TestClient, damaged: Damaged, mode: str) -> None:
    query = {"mode": mode, "product_id": damaged.product["product_id"]}
    assert code_of(api.post("/search", json=query)) == (404, "image_not_found")


def test_a_damaged_image_fails_its_own_product_only(api: TestClient, damaged: Damaged) -> None:
    assert api.patch(damaged.url, json={"title": "受损并改名"}).status_code == 200
    other = create(api, wait=True, title="无关的商品")
    assert other["index_status"] == "indexed"
    shown = api.get(damaged.url).json()
    assert shown["index_status"] == "failed"
    assert shown["index_error"]
    health = api.get("/health").json()
    assert (health["status"], health["outbox"]) == (
        "degraded",
        {"pending": 0, "retrying": 0, "failed": 1},
    )
    found = search(api, "text_to_text", text="受损并改名", top_k=1)
    assert ids(found) == [damaged.product["product_id"]]


def test_the_same_bytes_sent_again_heal_the_file(api: TestClient, damaged: Damaged) -> None:
    if damaged.path.is_dir():
        damaged.path.rmdir()  # only a person can say what lies in a folder that is no image
    assert api.patch(f"{damaged.url}?wait=true", json={"title": "坏"}).json()["index_error"]
    image = {"image_base64": base64_of(damaged.content)}
    made = create(api, wait=True, title="又一次", **image)
    assert (made["index_status"], made["index_error"]) == ("indexed", None)
    for url in (f"{damaged.url}/image", made["image_url"]):
        answer = api.get(url)
        assert (answer.status_code, answer.content) == (200, damaged.content)
        assert api.get(f"{url}?size=64").status_code == 200
    again = api.patch(f"{damaged.url}?wait=true", json={"title": "好"} | image)
    assert again.json()["index_status"] == "indexed"
    assert api.get("/health").json()["status"] == "ok"


def files(api: TestClient) -> set[Path]:
    folder = resources(api).settings.images_dir
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("field", ["image", "image_base64"])
def test_an_image_for_an_unknown_product_is_not_kept(api: TestClient, field: str) -> None:
    content = encoded(noise((41, 31), 1), "PNG")
    before = files(api)
    url = f"/product/{2**62}"
    if field == "image":
        answer = api.patch(url, files={"image": ("a.png", content, "image/png")})
    else:
        answer = api.patch(url, json={"image_base64": base64_of(content)})
    assert code_of(answer) == (404, "product_not_found")
    assert files(api) == before


def test_a_sku_that_is_taken_is_refused_with_a_new_image_too(api: TestClient) -> None:
    taken = create(api, wait=True, sku="TAKEN", title="先来的")
    image = {"image_base64": base64_of(encoded(noise((43, 31), 2), "PNG"))}
    for _ in range(2):
        answer = api.post("/product", json={"title": "后到的", "sku": "TAKEN"} | image)
        assert code_of(answer) == (409, "duplicate_sku")
    assert api.get(f"/product/{taken['product_id']}").json() == taken
    other = create(api, wait=True, title="后到的", **image)
    assert other["index_status"] == "indexed"
