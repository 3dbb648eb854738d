"""Audits: products whose image and title disagree, over HTTP and by command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from main import create_app
from orm_models import Product
from product_search.bootstrap import encoders
from product_search.cli import manage
from product_search.search.calibration import FORM
from product_search.settings import ROOT, Settings
from tests.api.exclusive_runs import run_to_end, shop as shop
from tests.api.helpers import base64_of, code_of, create_all, resources
from tests.api.test_manage_import import settings as settings
from tests.sessions import writing

IMAGES = ROOT / "sample_data" / "images"
# What they are called, and what they show; with the last two, they show each other.
TITLES = {
    "红苹果 脆甜多汁": "1f34e.webp",
    "香蕉 进口 一把": "1f34c.webp",
    "葡萄 无籽": "1f347.webp",
    "西瓜 大个": "1f349.webp",
    "红色雨伞 长柄": "2602-red.webp",
    "双肩包 大容量": "1f392-black.webp",
}
SWAPPED = {"红色自行车 26寸": "1f354.webp", "双层牛肉汉堡": "1f6b2-red.webp"}


def picture(name: str) -> str:
    """An image of the sample catalog, as JSON carries it."""
    return base64_of((IMAGES / name).read_bytes())


def filled(api: TestClient) -> list[dict[str, Any]]:
    """Products, two of which have each other's image, and one without."""
    named = TITLES | SWAPPED
    return create_all(
        api,
        [
            {"title": "没有图片的商品"},
            *({"title": title, "image_base64": picture(name)} for title, name in named.items()),
        ],
    )


def audited(api: TestClient) -> dict[str, Any]:
    """What an audit finds that begins now."""
    return run_to_end(api, "/product/audit")


def test_before_the_first_audit_nothing_is_claimed(shop: TestClient) -> None:
    nothing: dict[str, Any] = {"last": None, "newest": None, "items": [], "next_after": None}
    assert shop.get("/product/audit").json() == nothing
    assert code_of(shop.get("/product/audit", params={"limit": 101})) == (422, "invalid_request")


def test_of_an_empty_catalog_nothing_is_wrong(shop: TestClient) -> None:
    found = audited(shop)
    assert (found["last"]["checked"], found["last"]["skipped"], found["items"]) == (0, 0, [])


def test_swapped_images_come_first_with_the_verdict_of_a_match(shop: TestClient) -> None:
    made = filled(shop)
    found = audited(shop)
    assert (found["last"]["checked"], found["last"]["skipped"]) == (8, 0)
    worst = found["items"][:2]
    assert {item["title"] for item in worst} == set(SWAPPED)
    assert {item["product_id"] for item in worst} == {one["product_id"] for one in made[-2:]}
    standings = [item["standing"] for item in found["items"]]
    assert standings == sorted(standings)
    mismatched = [item for item in found["items"] if item["verdict"] == "mismatch"]
    assert found["last"]["mismatched"] == len(mismatched)
    for item in worst:
        pair = {"image": {"product_id": item["product_id"]}, "texts": [{"text": item["title"]}]}
        (told,) = shop.post("/match", json=pair).json()["pairs"]
        assert (item["verdict"], item["label"]) == (told["verdict"], told["label"])
        assert item["score"] == pytest.approx(told["score"], abs=1e-4)
        assert item["confidence"] == pytest.approx(told["confidence"], abs=1e-3)


def test_pages_leave_out_what_was_changed_since(shop: TestClient) -> None:
    filled(shop)
    whole = [item["product_id"] for item in audited(shop)["items"]]
    retitled, gone, priced = whole[0], whole[1], whole[2]
    assert shop.patch(f"/product/{retitled}", json={"title": "汉堡"}).status_code == 200
    assert shop.delete(f"/product/{gone}").status_code == 204
    assert shop.patch(f"/product/{priced}", json={"price": "9.90"}).status_code == 200
    found: list[int] = []
    after = 0
    while after is not None:
        page = shop.get("/product/audit", params={"limit": 3, "after": after}).json()
        found += [item["product_id"] for item in page["items"]]
        after = page["next_after"]
    assert found == whole[2:]


def test_what_is_not_indexed_yet_is_skipped(shop: TestClient) -> None:
    made = filled(shop)
    waiting = [made[1]["product_id"], made[2]["product_id"]]
    with writing(resources(shop).database) as session:
        pending = update(Product).where(Product.id.in_(waiting)).values(index_status="pending")
        session.execute(pending)
    found = audited(shop)
    assert (found["last"]["checked"], found["last"]["skipped"]) == (6, 2)
    assert not {item["product_id"] for item in found["items"]} & set(waiting)


def test_what_milvus_has_lost_is_skipped(shop: TestClient) -> None:
    made = filled(shop)
    resources(shop).entities.delete([int(made[1]["milvus_id"])])
    assert audited(shop)["last"]["skipped"] == 1


def test_the_command_compares_by_itself_and_loads_no_encoder(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert manage.main(["audit"]) == 0
    with TestClient(create_app(settings)) as api:
        filled(api)
    monkeypatch.delattr(encoders, "open_encoders")
    assert manage.main(["audit"]) == 1
    assert "比较了 8 件商品的图文，不符的有" in caplog.text
    assert manage.main(["audit", "--json", "--limit", "2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert {json.loads(line)["title"] for line in lines} == set(SWAPPED)


def test_without_a_calibration_there_is_an_order_and_no_verdict(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(settings)) as api:
        filled(api)
        fingerprint = resources(api).encoders.fingerprint
    settings.calibrations_dir.mkdir(parents=True)
    bare = settings.calibrations_dir / f"{fingerprint}.json"
    bare.write_text(json.dumps({"form": FORM, "fingerprint": fingerprint}), "utf-8")
    assert manage.main(["audit"]) == 0
    assert "没有校准" in caplog.text
    with TestClient(create_app(settings)) as api:
        page = api.get("/product/audit").json()
        assert page["last"]["mismatched"] is None
        assert {item["title"] for item in page["items"][:2]} == set(SWAPPED)
        assert page["items"][0]["verdict"] is None
    bare.write_text("{", "utf-8")
    assert manage.main(["audit"]) == 2
    assert bare.name in caplog.text


def test_a_service_that_holds_the_file_compares_for_the_command(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(settings)) as api:
        filled(api)
        assert manage.main(["audit"]) == 1
        assert settings.api_url in caplog.text
        assert api.get("/product/audit").json()["last"]["checked"] == 8
