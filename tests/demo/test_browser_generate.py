"""A real browser on the page that generates images."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from product_search.client import ApiClient
from tests.demo.conftest import IDLE
from tests.servers import running_pages


@pytest.fixture(scope="module")
def generator_url(browser: Browser, generating: ApiClient) -> Iterator[str]:
    """The pages over the API that generates; not started without a browser."""
    assert browser.is_connected()
    with running_pages(generating.base_url) as url:
        yield f"{url}/generate"


def ask(page: Page, words: str, steps: int) -> None:
    """Small images of the words."""
    page.get_by_label("想要的图片").fill(words)
    page.get_by_text("更多", exact=True).click()
    page.get_by_label("步数").fill(str(steps))
    page.get_by_label("步数").press("Tab")
    page.wait_for_selector(IDLE)
    page.get_by_role("button", name="开始生成").click()


def test_words_become_an_image_that_finds_products(page: Page, generator_url: str) -> None:
    page.goto(generator_url)
    ask(page, "红富士苹果", steps=2)
    card = page.locator(".st-key-results_generated").get_by_role("article")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("AI 生成")
    picture = card.locator("img")
    expect(picture).to_have_js_property("complete", True)
    expect(picture).not_to_have_js_property("naturalWidth", 0)
    with page.expect_download() as download:
        page.get_by_role("button", name="下载").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    page.get_by_role("button", name="用它找商品").click()
    expect(page).to_have_url(re.compile(r"/\?generation=\d+-1$"))
    expect(page.get_by_text("用时")).to_be_visible()
    query = page.locator(".st-key-generated_query img")
    expect(query).not_to_have_js_property("naturalWidth", 0)
    page.get_by_role("button", name="移除图片").click()
    expect(page.locator("input[type=file]")).to_have_count(1)
    expect(page).not_to_have_url(re.compile("generation"))


def test_progress_is_seen_and_a_long_generation_is_cancelled(
    page: Page, generator_url: str, generating: ApiClient
) -> None:
    lasting = {"prompt": "红富士苹果", "steps": 100, "n": 4, "width": 1024, "height": 1024}
    generation_id = generating.generate(lasting).generation_id
    page.goto(f"{generator_url}?generation={generation_id}")
    page.get_by_label("想要的图片").fill("青苹果")
    expect(page.get_by_text(re.compile(r"第 \d+ / 400 步"))).to_be_visible()
    preview = page.locator(".st-key-generation_preview img")
    expect(preview).not_to_have_js_property("naturalWidth", 0)
    expect(page.get_by_role("button", name="正在生成")).to_be_disabled()
    page.get_by_role("button", name="取消生成").click()
    expect(page.get_by_text("已取消，没有留下图片。")).to_be_visible()
    assert generating.get_generation(generation_id).state == "cancelled"
    expect(page.get_by_role("button", name="开始生成")).to_be_enabled()
    expect(page.get_by_label("想要的图片")).to_have_value("青苹果")
