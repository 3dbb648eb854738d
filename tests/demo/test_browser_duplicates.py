"""A real browser on the duplicates page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from playwright.sync_api import Page, expect

from data_models import ProductOut
from product_search.client import ApiClient, ApiError


@pytest.fixture
def copies(
    service: ApiClient, png: Callable[..., bytes]
) -> Iterator[tuple[ProductOut, ProductOut]]:
    """Two products with one image."""
    names = ("紫色水杯 原来的", "紫色水杯 又一个")
    first, second = (
        service.create_product({"title": name}, png("purple"), wait=True) for name in names
    )
    yield first, second
    for product in (first, second):
        with suppress(ApiError):  # the test deletes one
            service.delete_product(product.product_id)


def test_of_two_products_with_one_image_one_is_kept_and_the_other_deleted(
    page: Page, pages_url: str, service: ApiClient, copies: tuple[ProductOut, ProductOut]
) -> None:
    kept, gone = copies
    page.goto(f"{pages_url}/duplicates")
    page.get_by_role("button", name="开始查重").click()
    group = page.locator(f".st-key-group_{kept.product_id}")
    expect(group).to_contain_text("同一图片文件")
    expect(group.locator("img").first).not_to_have_js_property("naturalWidth", 0)
    card = page.locator(f".st-key-copy_{kept.product_id}")
    card.get_by_role("button", name="只留这件").click()
    group.get_by_role("button", name="删除 1 件").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text(gone.title)
    expect(question).to_contain_text(f"留下：{kept.title}")
    question.get_by_role("button", name="确认删除").click()
    expect(page.get_by_text("已删除 1 件")).to_be_visible()
    expect(group).to_have_count(0)
    assert service.get_product(kept.product_id).title == kept.title
    with pytest.raises(ApiError) as caught:
        service.get_product(gone.product_id)
    assert caught.value.body.code == "product_not_found"
