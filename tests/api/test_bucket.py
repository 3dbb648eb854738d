"""The service with its pictures in a bucket: what it serves, and what it says without it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.bootstrap.stores import open_images
from product_search.cli import manage
from product_search.errors import StartError
from product_search.settings import Settings
from tests.api.helpers import base64_of, code_of, create, ids, search
from tests.clock import until
from tests.s3_servers import KEY_ID, SECRET, S3Server, running_s3
from tests.unit.pictures import encoded, noise

PNG = encoded(noise((60, 40)), "PNG")


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with running_s3() as running:
        running.make_bucket("shop")
        yield running


@pytest.fixture(scope="module")
def settings(server: S3Server, open_settings: Callable[[], Settings]) -> Settings:
    given = {
        "images_url": "s3://shop/pictures-of/2026",
        "images_endpoint": server.address,
        "images_region": "us-east-1",
        "images_access_key_id": KEY_ID,
        "images_secret_access_key": SECRET,
    }
    return Settings.model_validate(open_settings().model_dump() | given)


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def test_pictures_are_kept_searched_and_shown(
    api: TestClient, settings: Settings, server: S3Server
) -> None:
    product = create(api, wait=True, title="书包", image_base64=base64_of(PNG))
    assert product["index_status"] == "indexed"
    assert api.get(product["image_url"]).content == PNG
    assert api.get(f"{product['image_url']}?size=64").headers["content-type"] == "image/webp"
    found = search(api, "image_to_image", image_base64=base64_of(PNG))
    assert ids(found)[0] == product["product_id"]
    (one,) = server.client().list_objects_v2(Bucket="shop")["Contents"]
    assert one["Key"].startswith("pictures-of/2026/pictures/")
    assert not (settings.images_dir / "pictures").exists()
    assert api.get("/health").json()["storage"] == "ok"


def test_an_export_has_the_pictures(
    api: TestClient, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(api, wait=True, title="箱子", image_base64=base64_of(PNG))
    for name in ("data_dir", "images_url", "images_endpoint", "images_region"):
        monkeypatch.setenv(f"PRODUCT_SEARCH_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("PRODUCT_SEARCH_IMAGES_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("PRODUCT_SEARCH_IMAGES_SECRET_ACCESS_KEY", SECRET)
    file = tmp_path / "all.zip"
    assert manage.main(["export", str(file)]) == 0
    assert PNG in file.read_bytes()


def test_without_the_bucket_all_else_goes_on(api: TestClient, server: S3Server) -> None:
    product = create(api, wait=True, title="水杯", image_base64=base64_of(PNG))
    url = product["image_url"]
    thumbnail = api.get(f"{url}?size=128").content
    server.stop()
    try:
        body = api.get("/health").json()
        assert (body["status"], body["storage"]) == ("degraded", "down")
        assert any(reason.startswith("图片存储：") for reason in body["reasons"])
        assert SECRET not in str(body)
        new = {"title": "新", "image_base64": base64_of(encoded(noise((9, 9)), "PNG"))}
        for answer in (api.get(url), api.post("/product", json=new)):
            assert code_of(answer) == (503, "storage_unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert api.get("/product/list", params={"q": "新"}).json()["total"] == 0
        assert api.get(f"{url}?size=128").content == thumbnail
        assert ids(search(api, "text_to_text", text="水杯"))[0] == product["product_id"]
    finally:
        server.start()
    until(lambda: api.get("/health").json()["storage"] == "ok", "the bucket's return")
    assert api.get(url).content == PNG
    assert create(api, wait=True, **new)["index_status"] == "indexed"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"images_url": "s3://no-such-bucket"}, "NoSuchBucket"),
        ({"images_endpoint": "http://127.0.0.1:9"}, "EndpointConnectionError"),
        ({"images_secret_access_key": ""}, "须一起给出"),
    ],
)
def test_what_can_not_be_opened_is_told_with_the_setting(
    settings: Settings, wrong: dict[str, str], reason: str
) -> None:
    given = Settings.model_validate(settings.model_dump() | wrong)
    with pytest.raises(StartError, match=f"PRODUCT_SEARCH_IMAGES_URL：.*{reason}") as raised:
        open_images(given)
    assert SECRET not in str(raised.value)


def test_boto3_is_asked_for_where_it_is_missing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(StartError, match="PRODUCT_SEARCH_IMAGES_URL：需要 boto3"):
        open_images(settings)
    assert open_images(settings.model_copy(update={"images_url": None})).files is not None
