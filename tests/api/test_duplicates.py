"""Duplicates: named when a product is created, searched for in the background, and by command."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageOps
from sqlalchemy import select, update

from main import create_app
from orm_models import Product
from product_search.bootstrap import encoders
from product_search.cli import manage
from product_search.settings import ROOT, Settings
from tests.api.exclusive_runs import run_to_end, shop as shop
from tests.api.helpers import base64_of, code_of, create, create_answer, resources
from tests.api.test_manage_import import settings as settings
from tests.sessions import reading, writing
from tests.unit.pictures import encoded, four_colours, noise

PHOTO = encoded(four_colours(size=(96, 64)), "PNG")
BACKPACK = (ROOT / "sample_data" / "images" / "1f392-black.webp").read_bytes()


def altered(change: Callable[[Image.Image], Image.Image]) -> str:
    """The backpack after a change, as JSON carries it."""
    image = Image.open(io.BytesIO(BACKPACK)).convert("RGBA")
    canvas = Image.new("RGBA", image.size, "white")
    canvas.alpha_composite(image)
    return base64_of(encoded(change(canvas.convert("RGB")), "JPEG", quality=60))


def searched(api: TestClient) -> dict[str, Any]:
    """What a search for duplicates finds that begins now."""
    return run_to_end(api, "/product/duplicates")


def test_before_the_first_search_nothing_is_claimed(shop: TestClient) -> None:
    nothing: dict[str, Any] = {"last": None, "newest": None, "groups": [], "next_after": None}
    assert shop.get("/product/duplicates").json() == nothing
    assert code_of(shop.get("/product/duplicates", params={"limit": 101})) == (
        422,
        "invalid_request",
    )


def test_a_product_that_is_there_already_is_added_and_named(shop: TestClient) -> None:
    first = create_answer(
        shop, title="红色双肩包 大号", brand="拾光", image_base64=base64_of(PHOTO)
    )
    assert first["duplicates"] == []
    same_file = create_answer(shop, title="书包", image_base64=base64_of(PHOTO))
    assert same_file["duplicates"] == [first["product_id"]]
    same_title = create_answer(shop, wait=True, title="红色雙肩包，大号！", brand="拾光")
    assert same_title["duplicates"] == [first["product_id"]]
    assert create_answer(shop, title="红色双肩包 大号", brand="别家")["duplicates"] == []


def test_at_most_ten_are_named_the_oldest_first(shop: TestClient) -> None:
    made = [create(shop, title="手机壳")["product_id"] for _ in range(12)]
    assert create_answer(shop, title="手机壳")["duplicates"] == made[:10]


def test_a_title_that_was_changed_counts_as_it_is_now(shop: TestClient) -> None:
    product = create(shop, title="手机壳")["product_id"]
    assert shop.patch(f"/product/{product}", json={"title": "雨伞"}).status_code == 200
    assert create_answer(shop, title="手机壳")["duplicates"] == []
    assert create_answer(shop, title="雨 伞")["duplicates"] == [product]


def test_a_point_in_a_number_is_no_mere_sign(shop: TestClient) -> None:
    create(shop, title="可乐 1.5L")
    assert create_answer(shop, title="可乐 15L")["duplicates"] == []


def test_copies_are_found_and_variants_are_not(shop: TestClient) -> None:
    title = "学生双肩包 大容量 20L"
    first = create(shop, title=title, image_base64=altered(lambda image: image))["product_id"]
    mirrored = create(shop, title=f"新款 {title}", image_base64=altered(ImageOps.mirror))
    create(shop, title="学生双肩包 大容量 35L", image_base64=altered(lambda image: image))
    create(shop, title=title, image_base64=base64_of(encoded(noise((90, 90)), "JPEG")))
    create(shop, title="雨伞 自动 折叠")
    untold = create(shop, wait=True, title="雨伞 自动，折叠")["product_id"]
    found = searched(shop)
    groups = [group["product_ids"] for group in found["groups"]]
    assert groups == [[first, mirrored["product_id"]], [untold - 1, untold]]
    assert [pair["why"] for group in found["groups"] for pair in group["pairs"]] == [
        "perceptual_hash",
        "same_title",
    ]
    assert (found["last"]["products"], found["last"]["groups"]) == (6, 2)


def test_groups_come_in_pages_without_what_was_deleted_since(shop: TestClient) -> None:
    made = [create(shop, title=f"{name} 一号款")["product_id"] for name in "甲甲甲乙乙丙丙"]
    assert [group["size"] for group in searched(shop)["groups"]] == [3, 2, 2]
    assert shop.delete(f"/product/{made[0]}").status_code == 204
    assert shop.delete(f"/product/{made[3]}").status_code == 204
    page = shop.get("/product/duplicates", params={"limit": 2}).json()
    assert [group["product_ids"] for group in page["groups"]] == [made[1:3]]
    rest = shop.get("/product/duplicates", params={"limit": 2, "after": page["next_after"]}).json()
    assert [group["product_ids"] for group in rest["groups"]] == [made[5:]]
    assert rest["next_after"] is None


def test_what_an_older_release_left_out_is_worked_out(shop: TestClient) -> None:
    picture = altered(lambda image: image)
    create(shop, title="学生双肩包", image_base64=picture)
    create(shop, wait=True, title="学生双肩包 现货", image_base64=altered(ImageOps.mirror))
    database = resources(shop).database
    with writing(database) as session:
        session.execute(update(Product).values(image_phash=None, title_key=None))
    assert len(searched(shop)["groups"]) == 1
    with reading(database) as session:
        filled = session.execute(select(Product.image_phash, Product.title_key)).all()
    assert all(looks and key for looks, key in filled)


def test_the_command_searches_by_itself_and_loads_no_encoder(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert manage.main(["duplicates"]) == 0
    with TestClient(create_app(settings)) as api:
        made = [create(api, wait=True, title="手机壳")["product_id"] for _ in range(2)]
    monkeypatch.delattr(encoders, "open_encoders")
    assert manage.main(["duplicates"]) == 1
    assert "重复的有 1 组" in caplog.text
    assert manage.main(["duplicates", "--json"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["product_ids"] for line in lines] == [made]


def test_a_service_that_holds_the_file_searches_for_the_command(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(settings)) as api:
        create(api, title="手机壳")
        create(api, wait=True, title="手机壳")
        assert manage.main(["duplicates"]) == 1
        assert settings.api_url in caplog.text
        assert api.get("/product/duplicates").json()["last"]["groups"] == 1
