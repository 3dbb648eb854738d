"""A real browser finds drift and repairs it over the real API."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Page, expect

from data_models import ProductListQuery
from product_search.client import ApiClient
from tests.demo.drifting import make_stale


def test_drift_is_found_and_repaired(
    page: Page, pages_url: str, service: ApiClient, data_dir: Path
) -> None:
    product = service.list_products(ProductListQuery(page_size=1)).items[0]
    make_stale(data_dir, product.product_id)
    page.goto(f"{pages_url}/system")
    expect(page.get_by_text("正常").first).to_be_visible()
    page.get_by_role("button", name="核对", exact=True).click()
    expect(page.get_by_text("还有 1 处不一致")).to_be_visible()
    expect(page.get_by_text("过时的向量 × 1")).to_be_visible()
    page.get_by_role("button", name="核对并修复").click()
    expect(page.get_by_text("找到的 1 处不一致都已安排修复")).to_be_visible()
    expect(page.locator(".ps-run").filter(has_text="核对并修复").first).to_contain_text("已完成")
    check_until(page, "一致，没有找到问题")


def check_until(page: Page, text: str) -> None:
    """Click 核对 until the text is there: a click that meets the page's own rerun is lost."""
    for timeout_ms in (10_000, 10_000, 30_000):
        page.get_by_role("button", name="核对", exact=True).click()
        with suppress(AssertionError):
            expect(page.get_by_text(text)).to_be_visible(timeout=timeout_ms)
            return
    expect(page.get_by_text(text)).to_be_visible()
