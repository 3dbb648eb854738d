"""A real browser searches: by words, by an image and its part, and by both."""

from __future__ import annotations

import re
from base64 import b64encode

from playwright.sync_api import Page, expect

from data_models import ProductListQuery
from product_search.client import ApiClient
from tests.conftest import SAMPLE
from tests.demo.conftest import IDLE
from tests.demo.test_browser import APPLE, first_card, search

# What a browser does when a person copies an image elsewhere and pastes it into the page.
PASTE = """(data) => {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], "apple.webp", { type: "image/webp" }));
  const event = new ClipboardEvent("paste", { clipboardData: files, bubbles: true });
  document.body.dispatchEvent(event);
}"""

OTHER_CARDS = """(before) => {
  const cards = [...document.querySelectorAll("[role=article]")].map((card) => card.innerText);
  return cards.length > 0 && cards.join() !== before.join();
}"""


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option).click()


def open_sidebar(page: Page) -> None:
    """A phone shows it when asked."""
    expander = page.get_by_test_id("stExpandSidebarButton")
    expect(page.get_by_role("heading", name="搜索商品")).to_be_visible()
    if expander.is_visible():
        expander.click()
        # Once it no longer moves: a list that is opened before closes again.
        page.get_by_role("combobox", name="排序").hover()
        page.wait_for_selector(IDLE)


def test_a_pasted_image_finds_its_product(page: Page, pages_url: str) -> None:
    page.goto(pages_url)
    expect(page.locator(".st-key-picture input[type=file]")).to_have_count(1)
    page.evaluate(PASTE, b64encode(APPLE.read_bytes()).decode())
    expect(page.locator("img.ps-preview")).to_be_visible()
    expect(first_card(page)).to_contain_text("红富士苹果")


def test_a_part_of_an_image_is_searched_by(page: Page, pages_url: str) -> None:
    page.goto(pages_url)
    page.locator("input[type=file]").set_input_files(APPLE)
    expect(first_card(page)).to_contain_text("红富士苹果")
    page.get_by_text("只用图片的一部分").click()
    frame = page.frame_locator("iframe[title*=cropper]")
    canvas = frame.locator("canvas.upper-canvas")
    expect(canvas).to_be_visible()
    page.wait_for_selector(IDLE)
    before = page.get_by_role("article").all_inner_texts()
    box = canvas.bounding_box()
    assert box is not None
    # The lower right corner of the box, which is at nine tenths, dragged to the middle.
    edge, middle = 0.9 * box["width"] + 1, 0.5 * box["width"]
    page.mouse.click(box["x"] + middle, box["y"] + middle)
    page.mouse.move(box["x"] + edge, box["y"] + edge)
    page.mouse.down()
    page.mouse.move(box["x"] + middle, box["y"] + middle, steps=8)
    page.mouse.up()
    page.wait_for_function(OTHER_CARDS, arg=before)
    expect(page.get_by_text("编码器")).to_be_visible()


def test_words_and_an_image_compose_a_query(page: Page, pages_url: str) -> None:
    page.goto(pages_url)
    page.locator("input[type=file]").set_input_files(APPLE)
    expect(first_card(page)).to_contain_text("红富士苹果")
    search(page, "绿色")
    expect(page.get_by_role("article").filter(has_text="绿色").first).to_be_visible()
    expect(page.get_by_role("article").filter(has_text="苹果").first).to_be_visible()


def test_a_shared_address_shows_the_same_search(
    page: Page, pages_url: str, service: ApiClient
) -> None:
    [red] = service.list_products(ProductListQuery(q="红色双肩包")).items
    page.goto(pages_url)
    search(page, "书包")
    card = page.locator(f".st-key-hit_{red.product_id}")
    card.get_by_role("button", name="不像这个").click()
    expect(card).to_have_count(0)
    expect(page).to_have_url(re.compile(f"unlike={red.product_id}"))
    open_sidebar(page)
    choose(page, "排序", "价格从高到低")
    expect(page).to_have_url(re.compile("sort=price_desc"))
    page.wait_for_selector(IDLE)
    shown = page.get_by_role("article").all_inner_texts()

    address = page.url
    page.goto("about:blank")
    page.goto(address)
    expect(page.get_by_label("搜索词")).to_have_value("书包")
    expect(page.get_by_role("button", name="不像 红色双肩包")).to_be_visible()
    expect(page.get_by_role("article")).to_have_text(
        [re.compile(re.escape(one.splitlines()[0])) for one in shown]
    )


def test_the_language_changes_and_what_was_chosen_stays(page: Page, pages_url: str) -> None:
    page.goto(f"{pages_url}?text=书包&only_fitting=false")
    expect(first_card(page)).to_be_visible()
    open_sidebar(page)
    choose(page, "排序", "价格从低到高")
    expect(page).to_have_url(re.compile("sort=price_asc"))
    page.wait_for_selector(IDLE)
    cheapest = first_card(page).inner_text().splitlines()[0]
    page.get_by_role("radio", name="English").click()
    expect(page.get_by_role("combobox", name="Sort by")).to_have_value("Price: low to high")
    expect(page).to_have_url(re.compile("sort=price_asc"))
    page.wait_for_selector(IDLE)
    assert first_card(page).inner_text().splitlines()[0] == cheapest


def test_nothing_that_fits_is_told_and_the_nearest_are_folded_away(
    page: Page, pages_url: str
) -> None:
    page.goto(pages_url)
    search(page, "asdkjh")
    expect(page.get_by_text("没有找到符合条件的商品")).to_be_visible()
    expect(page.get_by_role("article")).to_have_count(0)
    page.get_by_text("最接近的 3 件").click()
    expect(page.get_by_role("article")).to_have_count(3)


def test_a_photo_of_a_product_is_dropped_in(page: Page, pages_url: str) -> None:
    bag = SAMPLE / "images" / "1f392-red.webp"
    page.goto(pages_url)
    page.locator("input[type=file]").set_input_files(bag)
    expect(first_card(page)).to_contain_text("包")
    page.get_by_role("button", name="移除图片").click()
    expect(page.get_by_role("article")).to_have_count(0)
    expect(page.get_by_text("试试这些")).to_be_visible()
