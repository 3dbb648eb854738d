"""A real browser drives the catalog page over the real API."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from data_models import ProductListQuery, ProductOut
from product_search.client import ApiClient
from tests.conftest import SAMPLE

APPLE = SAMPLE / "images" / "1f34e.webp"


@pytest.fixture
def title(service: ApiClient) -> Iterator[str]:
    """The title of a product that a test adds; whatever is left of it goes at the end."""
    text = "手绘苹果明信片 六张一套"
    yield text
    remove(service, text)


@pytest.fixture
def pens(service: ApiClient) -> Iterator[list[ProductOut]]:
    """Two products to change together."""
    yield [
        service.create_product({"title": f"批量 钢笔 {number}", "price": "20"}) for number in (1, 2)
    ]
    remove(service, "批量 钢笔")


def remove(service: ApiClient, title: str) -> None:
    for product in service.list_products(ProductListQuery(q=title)).items:
        service.delete_product(product.product_id)


def row(page: Page, title: str) -> Locator:
    return page.locator('[class*="st-key-row_"]').filter(has_text=title)


def choose_pens(page: Page, pages_url: str) -> None:
    """List the pens, and choose all that are listed."""
    page.goto(f"{pages_url}/catalogue")
    box = page.get_by_label("标题包含")
    box.fill("批量 钢笔")
    box.press("Enter")
    expect(page.locator('[class*="st-key-row_"]')).to_have_count(2)
    page.get_by_label("全选本页").check(force=True)


def test_addresses_in_a_title_make_no_links(page: Page, pages_url: str, service: ApiClient) -> None:
    title = "看 http://evil.example/a www.evil.example a@evil.example [x](http://evil.example)"
    product = service.create_product({"title": title})
    try:
        page.goto(f"{pages_url}/catalogue")
        row(page, "evil.example").get_by_role("button", name="删除").click()
        expect(page.get_by_role("dialog")).to_contain_text("a@evil.example".replace("@", "\u2060@"))
        expect(page.locator('a[href*="evil"]')).to_have_count(0)
    finally:
        service.delete_product(product.product_id)


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
    expect(row(page, title)).to_contain_text("可搜索")

    row(page, title).get_by_role("button", name="编辑").click()
    expect(page.get_by_label("标题（必填）")).to_have_value(title)
    expect(page).to_have_url(re.compile(r"[?&]product=\d+$"))
    page.get_by_label("价格").fill("12")
    page.get_by_role("button", name="保存").click()
    expect(row(page, title)).to_contain_text("¥12.00")

    row(page, title).get_by_role("button", name="删除").click()
    page.get_by_role("button", name="确认删除").click()
    expect(page.get_by_text(f"已删除“{title}”")).to_be_visible()
    expect(row(page, title)).to_have_count(0)


def test_a_suggested_title_is_taken_beside_what_was_typed(page: Page, pages_url: str) -> None:
    page.goto(f"{pages_url}/catalogue")
    page.get_by_role("button", name="新增商品").click()
    page.get_by_label("标题（必填）").fill("我的标题")
    page.get_by_label("价格").fill("5")
    page.locator("input[type=file]").set_input_files(APPLE)
    page.get_by_role("button", name="为图片推荐标题").click()
    page.get_by_role("button", name=re.compile(r"^红富士苹果.*%$")).first.click()
    expect(page.get_by_label("标题（必填）")).to_have_value(re.compile("^红富士苹果"))
    expect(page.get_by_label("价格")).to_have_value("5")
    page.get_by_role("button", name="恢复“我的标题”").click()
    expect(page.get_by_label("标题（必填）")).to_have_value("我的标题")
    page.get_by_role("button", name="移除图片").click()
    expect(page.locator("img.ps-preview")).to_have_count(0)
    expect(page.locator("input[type=file]")).to_have_count(1)
    expect(page.get_by_text(APPLE.name)).to_have_count(0)


def test_an_address_opens_its_product_and_closing_takes_it_away(
    page: Page, pages_url: str, pens: list[ProductOut]
) -> None:
    page.goto(f"{pages_url}/catalogue?product={pens[0].product_id}")
    expect(page.get_by_label("标题（必填）")).to_have_value(pens[0].title)
    page.get_by_role("button", name="返回列表").click()
    expect(row(page, pens[0].title)).to_be_visible()
    expect(page).not_to_have_url(re.compile("product="))


@pytest.mark.usefixtures("pens")
def test_chosen_products_change_together(page: Page, pages_url: str) -> None:
    choose_pens(page, pages_url)
    expect(page.get_by_text("已选 2 件")).to_be_visible()
    page.get_by_role("button", name="批量修改").click()
    page.get_by_text("按百分比").click()
    page.get_by_label("涨跌百分比").fill("10")
    page.get_by_label("涨跌百分比").press("Enter")
    expect(page.get_by_role("region", name="改动预览")).to_contain_text("¥22.00")
    page.get_by_role("button", name="修改 2 件").click()
    expect(page.get_by_text("已修改 2 件商品")).to_be_visible()
    expect(row(page, "批量 钢笔 1")).to_contain_text("¥22.00")
    expect(row(page, "批量 钢笔 2")).to_contain_text("¥22.00")
    expect(page.get_by_text("已选")).to_have_count(0)


class Slow:
    """Connection on which nothing after a text reaches the page until the page has sent again."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()
        self._held: list[bytes | str] | None = None
        self._is_over = False

    def connect(self, page: WebSocketRoute) -> None:
        server = page.connect_to_server()

        def to_page(message: bytes | str) -> None:
            if self._held is not None:
                self._held.append(message)
                return
            page.send(message)
            if not self._is_over and isinstance(message, bytes) and self._text in message:
                self._held = []

        def to_server(message: bytes | str) -> None:
            server.send(message)
            if self._held is not None:
                held, self._held, self._is_over = self._held, None, True
                for one in held:
                    page.send(one)

        server.on_message(to_page)
        page.on_message(to_server)


@pytest.mark.usefixtures("pens")
def test_a_click_before_the_boxes_are_drawn_keeps_the_choice(page: Page, pages_url: str) -> None:
    page.route_web_socket("**/_stcore/stream", Slow("批量修改").connect)
    choose_pens(page, pages_url)
    page.get_by_role("button", name="批量修改").click()
    expect(page.get_by_role("dialog")).to_contain_text("批量修改 2 件商品")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_label("全选本页").uncheck(force=True)
    expect(page.get_by_text("共 2 件商品")).to_be_visible()
    expect(row(page, "批量 钢笔 1").get_by_role("checkbox")).not_to_be_checked()
