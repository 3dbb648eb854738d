"""A real browser drives the real pages over the real API."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect

from tests.conftest import SAMPLE
from tests.demo.conftest import IDLE
from tests.servers import end, running_api, running_pages

APPLE = SAMPLE / "images" / "1f34e.webp"


def first_card(page: Page) -> Locator:
    return page.get_by_role("article").first


def search(page: Page, words: str) -> None:
    box = page.get_by_label("搜索词")
    box.fill(words)
    box.press("Enter")


def test_words_show_the_right_product_first(page: Page, pages_url: str) -> None:
    page.goto(pages_url)
    search(page, "小学生书包")
    expect(first_card(page)).to_contain_text("蓝色书包 小学生减负护脊")
    expect(first_card(page)).to_contain_text("¥149.00")
    expect(page.get_by_text("用时")).to_be_visible()


def test_words_show_cards_with_images_in_the_image_mode(page: Page, pages_url: str) -> None:
    page.goto(pages_url)
    page.get_by_text("以文搜图").click()
    expect(page.get_by_text("按图片内容找")).to_be_visible()
    search(page, "苹果")
    expect(first_card(page)).to_be_visible()
    picture = first_card(page).locator("img")
    expect(picture).to_have_js_property("complete", True)
    expect(picture).not_to_have_js_property("naturalWidth", 0)


def test_an_uploaded_image_finds_its_own_product_first(page: Page, pages_url: str) -> None:
    page.goto(pages_url)
    page.get_by_role("radio", name="以图搜图").click()
    expect(page.get_by_text("找相似图片")).to_be_visible()
    page.wait_for_selector(IDLE)
    page.locator("input[type=file]").set_input_files(APPLE)
    expect(first_card(page)).to_contain_text("红富士苹果")
    fit = re.search(r"符合度 (\d+)%", first_card(page).inner_text())
    assert fit is not None
    assert int(fit.group(1)) >= 95


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
