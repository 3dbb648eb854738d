"""A real browser signs in on the pages: it keeps nothing of the key, and pictures are signed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from product_search.context import Scope
from tests.demo.conftest import IDLE
from tests.demo.guarded import TITLES, Guarded
from tests.demo.test_browser import first_card, search
from tests.servers import running_pages

KEPT = """() => JSON.stringify([
  location.href, document.cookie, {...localStorage}, {...sessionStorage},
  document.documentElement.outerHTML,
  [...document.querySelectorAll("input")].map((one) => one.value),
])"""


@pytest.fixture(scope="module")
def guarded_pages(browser: Browser, guarded: Guarded) -> Iterator[str]:
    """The pages over the API that requires keys, with one of their own that reads."""
    assert browser.is_connected()
    key = guarded.key("网页", Scope.read)
    with running_pages(guarded.url, PRODUCT_SEARCH_API_KEY=key) as url:
        yield url


def sign_in(page: Page, key: str) -> None:
    box = page.get_by_label("密钥", exact=True)
    box.fill(key)
    page.get_by_role("dialog").get_by_role("button", name="登录").click()


def test_who_signs_in_adds_a_product_and_the_browser_keeps_no_key(
    page: Page, guarded_pages: str, guarded: Guarded
) -> None:
    key = guarded.key("张三", Scope.write)
    page.goto(f"{guarded_pages}/catalogue")
    offer = page.locator(".st-key-needs_update_product")
    expect(offer).to_contain_text("现在只能查看：登录后可以新增、修改和删除商品")
    offer.get_by_role("button", name="登录").click()
    sign_in(page, "psk_nonsense")
    expect(page.get_by_text("这不是一把密钥")).to_be_visible()
    expect(page.get_by_label("密钥", exact=True)).to_have_value("")
    sign_in(page, key)
    expect(page.get_by_role("button", name="新增商品")).to_be_visible()
    page.wait_for_selector(IDLE)
    assert key.rpartition("_")[2] not in page.evaluate(KEPT)
    page.get_by_role("button", name="新增商品").click()
    page.get_by_label("标题（必填）").fill("浏览器里的商品")
    page.get_by_role("button", name="保存").click()
    expect(page.get_by_text("已保存“浏览器里的商品”")).to_be_visible()
    page.reload()
    expect(offer).to_be_visible()
    expect(page.get_by_role("button", name="新增商品")).to_have_count(0)


def test_pictures_are_shown_where_keys_are_required(page: Page, guarded_pages: str) -> None:
    page.goto(guarded_pages)
    search(page, "苹果")
    expect(first_card(page)).to_contain_text(TITLES[0])
    picture = first_card(page).locator("img")
    expect(picture).to_have_attribute("src", re.compile("signature="))
    expect(picture).to_have_js_property("complete", True)
    expect(picture).not_to_have_js_property("naturalWidth", 0)
