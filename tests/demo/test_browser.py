"""A real browser drives the real pages over the real API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from data_models import ProductListQuery
from product_search.api_client import ApiClient
from tests.conftest import SAMPLE
from tests.servers import end, running_api, running_pages

APPLE = SAMPLE / "images" / "1f34e.webp"


@pytest.fixture
def title(service: ApiClient) -> Iterator[str]:
    """The title of a product that a test adds; whatever is left of it goes at the end."""
    text = "手绘苹果明信片 六张一套"
    yield text
    for product in service.products(ProductListQuery(q=text)).items:
        service.delete(product.product_id)


def first_card(page: Page) -> Locator:
    return page.get_by_role("article").first


def search(page: Page, words: str) -> None:
    box = page.get_by_label("搜索词")
    box.fill(words)
    box.press("Enter")


def row(page: Page, title: str) -> Locator:
    return page.locator('[class*="st-key-row_"]').filter(has_text=title)


def test_words_show_the_right_product_first(page: Page, pages_url: str) -> None:
    page.goto(pages_url)
    search(page, "小学生书包")
    expect(first_card(page)).to_contain_text("蓝色书包 小学生减负护脊")
    expect(first_card(page)).to_contain_text("¥149.00")
    expect(page.get_by_text("用时")).to_be_visible()


def test_words_show_cards_with_pictures_in_the_image_mode(page: Page, pages_url: str) -> None:
    page.goto(pages_url)
    page.get_by_text("以文搜图").click()
    expect(page.get_by_text("按图片内容找")).to_be_visible()
    search(page, "苹果")
    expect(first_card(page)).to_be_visible()
    picture = first_card(page).locator("img")
    expect(picture).to_have_js_property("complete", True)
    expect(picture).not_to_have_js_property("naturalWidth", 0)


def test_an_uploaded_picture_finds_its_own_product_first(page: Page, pages_url: str) -> None:
    page.goto(pages_url)
    page.get_by_text("以图搜图").click()
    page.locator("input[type=file]").set_input_files(APPLE)
    expect(first_card(page)).to_contain_text("红富士苹果")
    fit = re.search(r"符合度 (\d+)%", first_card(page).inner_text())
    assert fit is not None
    assert int(fit.group(1)) >= 95


def test_a_product_is_added_edited_and_deleted(page: Page, pages_url: str, title: str) -> None:
    page.goto(f"{pages_url}/catalogue")
    page.get_by_role("button", name="新增商品").click()
    page.locator("input[type=file]").set_input_files(APPLE)
    expect(page.locator("img.ps-preview")).to_be_visible()
    page.get_by_label("价格").fill("1.234")
    page.get_by_label("标题（必填）").fill(title)
    page.get_by_role("button", name="保存").click()
    expect(page.get_by_text("小数最多 2 位")).to_be_visible()
    expect(page.get_by_label("标题（必填）")).to_have_value(title)
    page.get_by_label("价格").fill("9.90")
    page.get_by_role("button", name="保存").click()
    expect(page.get_by_text("现在可以搜索到它")).to_be_visible()
    expect(row(page, title)).to_contain_text("¥9.90")

    row(page, title).get_by_role("button", name="编辑").click()
    expect(page.get_by_label("标题（必填）")).to_have_value(title)
    page.get_by_label("价格").fill("12")
    page.get_by_role("button", name="保存").click()
    expect(row(page, title)).to_contain_text("¥12.00")

    row(page, title).get_by_role("button", name="删除").click()
    page.get_by_role("button", name="确认删除").click()
    expect(page.get_by_text(f"已删除“{title}”")).to_be_visible()
    expect(row(page, title)).to_have_count(0)


def test_a_stopped_api_is_told_and_a_running_one_is_found_again(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "api").mkdir()
    with running_api(tmp_path / "api") as (api_url, process), running_pages(api_url) as url:
        page = browser.new_page()
        page.goto(url)
        expect(page.get_by_text("按词、按意思")).to_be_visible()
        expect(page.get_by_text("无法连接")).to_have_count(0)
        end(process)
        search(page, "书包")
        expect(page.get_by_text("无法连接 API")).to_be_visible()
        expect(page.get_by_text("make serve")).to_be_visible()
        expect(page.get_by_label("搜索词")).to_have_value("书包")
        page.screenshot(path=tmp_path / "down.png")
        with running_api(tmp_path / "api", int(api_url.rpartition(":")[2])):
            page.get_by_role("button", name="重试").click()
            expect(page.get_by_text("没有找到符合条件的商品")).to_be_visible()
        page.close()
