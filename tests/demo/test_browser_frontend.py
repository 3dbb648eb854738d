"""A page of another origin, docs/frontend.md's, searches a service that requires keys."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from playwright.sync_api import Browser, Page, Response, expect

from product_search.context import Scope
from product_search.settings import ROOT
from tests.clock import until
from tests.demo.conftest import WAIT_MS
from tests.demo.guarded import TITLES, Guarded
from tests.demo.test_browser import APPLE

DOCUMENT = ROOT / "docs" / "frontend.md"


@contextmanager
def served(html: list[str]) -> Iterator[str]:
    """An origin of its own, whose only page is the last of these; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = html[-1].encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:  # a test that fails is not to wait for it for ever
            server.shutdown()
            thread.join()


def documented(api: str, key: str) -> str:
    """The page of the document, for this API and with this key."""
    page: str
    [page] = re.findall(r"```html\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    for written, ours in (("https://api.shop.example", api), ("pspk_…", key)):
        assert page.count(written) == 1
        page = page.replace(written, ours)
    return page


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(locale="zh-CN")
    context.set_default_timeout(WAIT_MS)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def shop(guarded: Guarded) -> Iterator[tuple[str, str]]:
    """The address of a page of an origin that is let in, and the key that it has."""
    html: list[str] = []
    with served(html) as origin:
        key = guarded.key("商店", Scope.read, origin)
        html.append(documented(guarded.url, key))
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        # Browsers ask before they show the key: a new origin is known once the keys are read again.
        until(
            lambda: httpx.options(f"{guarded.url}/search", headers=asked).status_code == 204,
            "the origin is let in",
        )
        yield origin, key


def has_pictures(page: Page) -> None:
    picture = page.locator("li img").first
    expect(picture).to_have_js_property("complete", True)
    expect(picture).not_to_have_js_property("naturalWidth", 0)


def test_words_and_a_picture_find_products(tab: Page, shop: tuple[str, str]) -> None:
    tab.goto(shop[0])
    tab.get_by_label("搜索词").fill("苹果")
    tab.get_by_role("button", name="搜索").click()
    expect(tab.locator("li").first).to_contain_text(TITLES[0])
    has_pictures(tab)
    tab.get_by_label("搜索词").fill("")
    tab.get_by_label("图片").set_input_files(APPLE)
    tab.get_by_role("button", name="搜索").click()
    expect(tab.get_by_role("status")).to_have_text("共 1 件")
    expect(tab.locator("li").first).to_contain_text(TITLES[0])
    has_pictures(tab)


def test_what_the_api_says_is_wrong_is_shown(tab: Page, shop: tuple[str, str]) -> None:
    tab.goto(shop[0])
    tab.get_by_role("button", name="搜索").click()
    expect(tab.get_by_role("status")).to_contain_text("请求有误")
    expect(tab.locator("li")).to_have_count(0)


def test_an_origin_that_is_not_let_in_gets_nothing(
    tab: Page, shop: tuple[str, str], guarded: Guarded
) -> None:
    answers: list[Response] = []
    tab.on("response", lambda answer: answers.append(answer))  # Playwright marks what it is given
    with served([documented(guarded.url, shop[1])]) as other:
        tab.goto(other)
        tab.get_by_label("搜索词").fill("苹果")
        tab.get_by_role("button", name="搜索").click()
        expect(tab.get_by_role("status")).to_have_text("接口没有应答，或不允许这个网页使用")
        expect(tab.locator("li")).to_have_count(0)
    from_api = [one for one in answers if one.url.startswith(guarded.url)]
    assert all(one.status == 403 for one in from_api), from_api
