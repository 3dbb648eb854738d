"""POST and GET /product: what goes in comes out as it was given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings, strategies as st

from data_models import is_blank
from product_search.images.decoding import decode
from tests.api.helpers import base64_of, code_of, create, form
from tests.unit import pictures

WHOLE: dict[str, Any] = {
    "sku": "BAG-0001",
    "title": "红色双肩包 大容量",
    "description": "防泼水面料。\n可放笔记本电脑。",
    "category": "箱包",
    "brand": "拾光",
    "price": "129.00",
    "attributes": {"颜色": "红", "容量": 25, "防水": True, "尺寸": [30, 45.5], "备注": None},
}
STRANGE_TEXTS = [
    "  前后有空格  ",
    "\t制表符与换行\n第二行\r\n",
    "🎒👨‍👩‍👧‍👦🏳️‍🌈",
    "𠮷野家 𪚥 𰻝",
    "e\u0301 é ﬁ ＡＢＣ",
    "‮右到左‬",
    "\x00空\x01字\x7f",
    "'; DROP TABLE product; --",
    '"quoted" \\backslash\\ %25 %s {0}',
    "<script>alert(1)</script>",
    "\u2028\u2029\ufeff书",
]


def test_a_product_comes_back_as_it_was_given(api: TestClient) -> None:
    made = create(api, **WHOLE)
    assert {name: made[name] for name in WHOLE} == WHOLE
    assert made["revision"] == 1
    assert made["index_status"] == "pending"
    assert made["image_url"] is None
    assert made["index_error"] is None
    answer = api.get(f"/product/{made['product_id']}")
    assert answer.status_code == 200
    assert answer.json() | {"index_status": "pending"} == made


def test_only_the_title_is_required(api: TestClient) -> None:
    made = create(api, title="书")
    nothing = {"sku", "description", "category", "brand", "price", "image_url"}
    assert {made[name] for name in nothing} == {None}
    assert made["attributes"] == {}


def test_the_milvus_id_is_a_string_of_63_bits_unrelated_to_the_product_id(api: TestClient) -> None:
    made = create(api)
    assert isinstance(made["milvus_id"], str)
    assert made["product_id"] < int(made["milvus_id"]) < 2**63


def test_times_are_in_utc_with_a_zone(api: TestClient) -> None:
    made = create(api)
    for name in ("created_at", "updated_at"):
        assert datetime.fromisoformat(made[name]).utcoffset() == timedelta(0)


def test_ids_are_never_given_twice(api: TestClient) -> None:
    first = create(api)["product_id"]
    assert api.delete(f"/product/{first}").status_code == 204
    assert create(api)["product_id"] > first


@pytest.mark.parametrize("text", STRANGE_TEXTS)
def test_strings_are_kept_as_given(api: TestClient, text: str) -> None:
    fields: dict[str, Any] = dict.fromkeys(("title", "description", "category", "brand"), text)
    made = create(api, **fields, attributes={"值": text, text: [text]})
    shown = api.get(f"/product/{made['product_id']}").json()
    assert {name: shown[name] for name in fields} == fields
    assert shown["attributes"] == {"值": text, text: [text]}


@pytest.mark.parametrize("text", STRANGE_TEXTS)
def test_strings_of_a_multipart_body_are_kept_as_given(api: TestClient, text: str) -> None:
    answer = api.post("/product", files={"title": (None, text), "brand": (None, text)})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["title"], answer.json()["brand"]) == (text, text)


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=100).filter(lambda text: not is_blank(text)))
def test_any_title_goes_in_and_comes_out(api: TestClient, title: str) -> None:
    made = create(api, title=title)
    assert api.get(f"/product/{made['product_id']}").json()["title"] == title


@pytest.mark.parametrize("value", [500 * "𠮷", 500 * "🎒", 500 * "a"])
def test_a_title_may_have_500_characters_of_any_size(api: TestClient, value: str) -> None:
    assert create(api, wait=True, title=value)["index_status"] == "indexed"


def test_labels_may_have_100_characters_of_any_kind(api: TestClient) -> None:
    for value in ("\\" * 100, "🎒" * 100, "\x01" * 99 + "a"):
        made = create(api, wait=True, category=value, brand=value)
        assert (made["index_status"], made["category"]) == ("indexed", value)


@pytest.mark.parametrize(
    ("price", "shown"),
    [
        (0, "0.00"),
        (0.1, "0.10"),
        ("19.99", "19.99"),
        (19.99, "19.99"),
        (1999, "1999.00"),
        (9999999999.99, "9999999999.99"),
        ("9999999999.99", "9999999999.99"),
        ("0.07", "0.07"),
        ("1.1", "1.10"),
        (None, None),
    ],
)
def test_prices_are_exact(api: TestClient, price: object, shown: str | None) -> None:
    made = create(api, price=price)
    assert made["price"] == shown
    assert api.get(f"/product/{made['product_id']}").json()["price"] == shown


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", "data:;base64,"])
def test_an_image_comes_as_base64_or_as_a_data_uri(
    api: TestClient, png: Callable[..., bytes], prefix: str
) -> None:
    made = create(api, image_base64=prefix + base64_of(png()))
    assert made["image_url"] == f"/product/{made['product_id']}/image"
    assert api.get(made["image_url"]).content == png()


def test_a_product_comes_as_multipart_with_a_file(
    api: TestClient, png: Callable[..., bytes]
) -> None:
    fields = {"title": "红包", "price": "1.50", "attributes": '{"颜色": "红"}', "sku": "M-1"}
    answer = api.post("/product", data=fields, files={"image": ("a.png", png(), "image/png")})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["title"], made["price"], made["sku"]) == ("红包", "1.50", "M-1")
    assert made["attributes"] == {"颜色": "红"}
    assert api.get(made["image_url"]).content == png()


def test_an_untouched_file_input_of_a_browser_is_no_image(api: TestClient) -> None:
    title = ('Content-Disposition: form-data; name="title"', "书包".encode())
    untouched = 'Content-Disposition: form-data; name="image"; filename=""\r\nContent-Type: a/b'
    answer = api.post("/product", **form("xyz", title, (untouched, b"")))
    assert answer.status_code == 201, answer.text
    assert answer.json()["image_url"] is None


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")  # Pillow's own remark
def test_every_kind_of_image_is_taken_and_indexed(api: TestClient) -> None:
    good = pictures.good_images() | {"corrupt exif": pictures.with_corrupt_exif()}
    made = {name: create(api, image_base64=base64_of(content)) for name, content in good.items()}
    create(api, wait=True)
    for name, product in made.items():
        shown = api.get(f"/product/{product['product_id']}").json()
        assert shown["index_status"] == "indexed", name
        assert decode(api.get(product["image_url"]).content).size == decode(good[name]).size
        assert api.get(f"{product['image_url']}?size=64").status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "照片.png",
        "a.jpg",
        "../../etc/passwd",
        "/etc/passwd",
        "..\\..\\x",
        "a\0b.png",
        "con",
        "x" * 300,
    ],
)
def test_a_file_name_never_becomes_a_path(
    api: TestClient, png: Callable[..., bytes], name: str
) -> None:
    answer = api.post("/product", data={"title": "书包"}, files={"image": (name, png(), "text/x")})
    assert answer.status_code == 201, answer.text
    image = api.get(answer.json()["image_url"])
    assert (image.content, image.headers["content-type"]) == (png(), "image/png")


def test_wait_answers_once_the_product_is_searchable(api: TestClient) -> None:
    made = create(api, wait=True, title="独一无二的紫色摇粒绒帽子")
    assert made["index_status"] == "indexed"
    answer = api.post("/search", json={"mode": "text_to_text", "text": "独一无二的紫色摇粒绒帽子"})
    assert answer.json()["hits"][0]["product"] == made


def test_a_product_that_does_not_exist_is_not_found(api: TestClient) -> None:
    for path in ("/product/999999999", f"/product/{2**63 - 1}", "/product/999999999/image"):
        assert code_of(api.get(path)) == (404, "product_not_found")


def test_a_second_product_with_a_sku_is_refused(api: TestClient) -> None:
    create(api, sku="ONCE-1")
    answer = api.post("/product", json={"title": "书包", "sku": "ONCE-1"})
    assert code_of(answer) == (409, "duplicate_sku")
    assert set(answer.json()["fields"]) == {"sku"}
    for other in ("once-1", "ONCE-1 ", " ONCE-1", "ＯＮＣＥ-1"):
        assert create(api, sku=other)["sku"] == other
