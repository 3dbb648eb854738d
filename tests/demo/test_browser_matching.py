"""A real browser on the matching page."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from data_models import ProductOut
from product_search.client import ApiClient
from tests.conftest import SAMPLE

APPLE = SAMPLE / "images" / "1f34e.webp"


@pytest.fixture
def odd_product(service: ApiClient, sample_image: Callable[[str], bytes]) -> Iterator[ProductOut]:
    """A product whose image is of something else."""
    image = sample_image("1f34e.webp")
    product = service.create_product({"title": "静音无线鼠标 黑色"}, image, wait=True)
    yield product
    service.delete_product(product.product_id)


def test_an_image_is_matched_with_three_titles(page: Page, pages_url: str) -> None:
    page.goto(f"{pages_url}/matching")
    page.locator("input[type=file]").set_input_files(APPLE)
    expect(page.locator("img.ps-preview")).to_be_visible()
    box = page.get_by_label("标题（每行一个）")
    box.fill("蓝色书包 小学生\n香蕉\n红富士苹果 脆甜")
    page.get_by_role("button", name="比对").click()
    lines = page.locator(".ps-verdicts").get_by_role("listitem")
    expect(lines).to_have_count(3)
    expect(lines.first).to_contain_text("红富士苹果 脆甜")
    expect(lines.first).to_contain_text("图文相符")
    expect(lines.last).to_contain_text("图文不符")
    page.get_by_text("一题多图").click()
    expect(page.get_by_label("标题", exact=True)).to_be_visible()
    page.get_by_text("一图多题").click()
    expect(lines).to_have_count(3)
    expect(box).to_have_value("蓝色书包 小学生\n香蕉\n红富士苹果 脆甜")


def test_an_audit_is_run_and_its_worst_is_opened_for_editing(
    page: Page, pages_url: str, odd_product: ProductOut
) -> None:
    page.goto(f"{pages_url}/matching")
    page.get_by_text("核查清单").click()
    page.get_by_role("button", name="核查全部商品").click()
    worst = page.locator(f".st-key-audit_{odd_product.product_id}")
    expect(worst).to_contain_text("图文不符")
    expect(worst).to_contain_text(odd_product.title)
    expect(worst.locator("img")).not_to_have_js_property("naturalWidth", 0)
    worst.get_by_role("button", name="编辑").click()
    expect(page).to_have_url(f"{pages_url}/catalogue?product={odd_product.product_id}")
