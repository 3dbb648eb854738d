"""PATCH and DELETE /product/{product_id}: only what was given, revisions, out at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import base64_of, code_of, create, ids, listed, search

WHOLE: dict[str, Any] = {
    "title": "红色双肩包",
    "description": "防泼水",
    "category": "箱包",
    "brand": "拾光",
    "price": "129.00",
    "attributes": {"颜色": "红", "件数": 1},
}
CHANGING = {"sku", "title", "description", "price", "category", "brand", "attributes"}


def path_of(product: dict[str, Any]) -> str:
    return f"/product/{product['product_id']}"


def patch(api: TestClient, product: dict[str, Any], **changes: Any) -> dict[str, Any]:
    answer = api.patch(f"{path_of(product)}?wait=true", json=changes)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    assert api.get(path_of(product)).json() == shown
    return shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", "蓝色双肩包"),
        ("title", "红色双肩包 "),
        ("description", "新的说明"),
        ("description", None),
        ("description", ""),
        ("category", "鞋靴"),
        ("category", None),
        ("brand", "青坡园"),
        ("brand", None),
        ("price", "0.01"),
        ("price", None),
        ("sku", "NEW-1"),
        ("group", "SPU 1 "),
        ("attributes", {"颜色": "蓝"}),
        ("attributes", {}),
        ("attributes", {"颜色": "红", "件数": True}),
        ("attributes", {"颜色": "红", "件数": 1.0}),
        ("attributes", {"颜色": "红", "件数": "1"}),
    ],
)
def test_only_the_field_given_is_changed(api: TestClient, name: str, value: Any) -> None:
    before = create(api, wait=True, **WHOLE)
    patched = patch(api, before, **{name: value})
    after = api.get(f"/product/{before['product_id']}").json()
    assert after[name] == patched[name] == value
    assert type_tree(after[name]) == type_tree(value)
    untouched = set(before) - {name, "revision", "updated_at"}
    assert {key: after[key] for key in untouched} == {key: before[key] for key in untouched}
    assert after["revision"] == before["revision"] + (name in CHANGING)
    assert after["updated_at"] > before["updated_at"]


def type_tree(value: Any) -> Any:
    """What JSON tells apart and Python's == does not: true, 1 and 1.0."""
    return {key: type(item) for key, item in value.items()} if isinstance(value, dict) else None


def test_attributes_may_be_cleared_with_null(api: TestClient) -> None:
    assert patch(api, create(api, wait=True, **WHOLE), attributes=None)["attributes"] == {}


@pytest.mark.parametrize(
    "changes",
    [{}, {"title": WHOLE["title"]}, {"price": 129}, {"price": "129.0"}, WHOLE],
    ids=["nothing", "title", "number", "string", "all"],
)
def test_a_change_to_what_is_there_changes_nothing(
    api: TestClient, changes: dict[str, Any]
) -> None:
    before = create(api, wait=True, **WHOLE)
    assert patch(api, before, **changes) == before


def test_several_fields_change_together_in_one_revision(api: TestClient) -> None:
    before = create(api, wait=True, **WHOLE)
    after = patch(api, before, title="新", price="2", brand="乙", description="丙")
    assert after["revision"] == before["revision"] + 1


def test_an_image_is_added_replaced_and_removed(api: TestClient, png: Callable[..., bytes]) -> None:
    product = create(api, wait=True, **WHOLE)
    red, blue = png("red"), png("blue")
    with_red = patch(api, product, image_base64=base64_of(red))
    assert api.get(with_red["image_url"]).content == red
    same = patch(api, product, image_base64=base64_of(red))
    files = {"image": ("b.png", blue, "image/png")}
    with_blue = api.patch(f"{path_of(product)}?wait=true", files=files).json()
    assert api.get(with_blue["image_url"]).content == blue
    without = patch(api, product, image_base64=None)
    assert without["image_url"] is None
    assert code_of(api.get(f"{path_of(product)}/image")) == (404, "image_not_found")
    revisions = [each["revision"] for each in (product, with_red, same, with_blue, without)]
    assert revisions == [1, 2, 2, 3, 4]


def test_a_multipart_change_keeps_the_fields_not_given(
    api: TestClient, png: Callable[..., bytes]
) -> None:
    product = create(api, wait=True, **WHOLE)
    files = {"image": ("b.png", png("green"), "image/png")}
    after = api.patch(path_of(product), data={"brand": "丁"}, files=files).json()
    kept = {name: value for name, value in WHOLE.items() if name != "brand"}
    assert {name: after[name] for name in kept} == kept
    assert after["brand"] == "丁"


def test_a_changed_title_is_found_by_its_new_words(api: TestClient) -> None:
    product = create(api, wait=True, title="木质书架 五层")
    patch(api, product, title="不锈钢保温杯 大容量")
    (hit,) = search(api, "text_to_text", text="不锈钢保温杯 大容量", top_k=1)
    assert hit["product"]["product_id"] == product["product_id"]


def test_a_sku_of_another_product_is_refused_and_nothing_is_changed(api: TestClient) -> None:
    create(api, sku="TAKEN")
    product = create(api, wait=True, sku="MINE", title="甲")
    answer = api.patch(path_of(product), json={"sku": "TAKEN", "title": "乙"})
    assert code_of(answer) == (409, "duplicate_sku")
    assert api.get(path_of(product)).json() == product
    assert patch(api, product, sku="MINE") == product


def test_a_deleted_product_is_gone_from_every_answer_at_once(
    api: TestClient, png: Callable[..., bytes]
) -> None:
    image = base64_of(png("purple"))
    product = create(api, wait=True, title="紫色的独一件", sku="GONE", image_base64=image)
    gone = product["product_id"]
    assert api.delete(path_of(product)).status_code == 204
    assert api.get(path_of(product)).status_code == 404
    assert gone not in ids(search(api, "text_to_text", text="紫色的独一件"))
    assert gone not in ids(search(api, "text_to_image", text="紫色的独一件"))
    assert gone not in ids(search(api, "image_to_image", image_base64=image))
    assert gone not in ids(search(api, "image_to_text", image_base64=image))
    assert listed(api, q="紫色的独一件")["total"] == 0
    assert create(api, sku="GONE")["product_id"] != gone


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"title": "新"}),
        ("PATCH", "?wait=true", {}),
        ("DELETE", "", None),
        ("GET", "/image", None),
    ],
)
def test_a_deleted_product_is_not_found(
    api: TestClient, method: str, suffix: str, body: dict[str, Any] | None
) -> None:
    product = create(api)
    answer = api.delete(path_of(product))
    assert (answer.status_code, answer.content) == (204, b"")
    again = api.request(method, path_of(product) + suffix, json=body)
    assert code_of(again) == (404, "product_not_found")
    for mode in ("text_to_text", "image_to_image"):
        query = {"mode": mode, "product_id": product["product_id"]}
        assert code_of(api.post("/search", json=query)) == (404, "product_not_found")


def test_products_that_share_an_image_do_not_lose_it(
    api: TestClient, png: Callable[..., bytes]
) -> None:
    image = base64_of(png("orange"))
    first, second = create(api, image_base64=image), create(api, image_base64=image)
    api.delete(path_of(first))
    assert api.get(second["image_url"]).content == png("orange")
