"""The pages' server: no foreign page frames it, opens a session, or reaches it by its own name."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from product_search.client import ApiClient
from tests.demo.conftest import IDLE, WAIT_MS
from tests.demo.test_browser_frontend import served

OPEN_SESSION = """(address) => new Promise((resolve) => {
  const socket = new WebSocket(address, "streamlit");
  socket.onopen = () => resolve("opened");
  socket.onerror = () => resolve("refused");
})"""


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(locale="zh-CN")
    context.set_default_timeout(WAIT_MS)
    yield context.new_page()
    context.close()


def session_address(pages_url: str) -> str:
    return pages_url.replace("http:", "ws:") + "/_stcore/stream"


def test_a_page_of_the_same_server_opens_a_session(tab: Page, pages_url: str) -> None:
    tab.goto(pages_url)
    assert tab.evaluate(OPEN_SESSION, session_address(pages_url)) == "opened"


def test_a_page_of_another_port_opens_none_and_shows_none(tab: Page, pages_url: str) -> None:
    with served([f'<iframe src="{pages_url}" width="900" height="600"></iframe>']) as other:
        tab.goto(other)
        assert tab.evaluate(OPEN_SESSION, session_address(pages_url)) == "refused"
        expect(tab.frame_locator("iframe").get_by_role("heading")).to_have_count(0)
        assert [frame.url for frame in tab.frames[1:]] == ["chrome-error://chromewebdata/"]


def test_a_name_that_somebody_points_here_shows_how_to_allow_it(tab: Page, pages_url: str) -> None:
    port = urlsplit(pages_url).port
    tab.goto(f"http://rebound.test:{port}")
    expect(tab.locator("body")).to_contain_text("主机名 'rebound.test' 不属于本服务")
    expect(tab.locator("body")).to_contain_text("PRODUCT_SEARCH_ALLOWED_HOSTS")
    tab.goto(f"http://page.localhost:{port}")
    expect(tab.get_by_role("heading", name="搜索商品")).to_be_visible()


def test_the_pages_ask_nobody_but_themselves_and_the_api(
    tab: Page, pages_url: str, service: ApiClient
) -> None:
    asked: set[str] = set()
    tab.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    tab.goto(f"{pages_url}?text=苹果")
    expect(tab.get_by_role("article").first).to_be_visible()
    tab.wait_for_selector(IDLE)
    assert asked - {""} <= {urlsplit(pages_url).netloc, urlsplit(service.base_url).netloc}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_file_is_taken_from_the_pages_alone(pages_url: str, method: str) -> None:
    address = f"{pages_url}/_stcore/upload_file/session/file"
    files = {"file": b"content"}
    assert httpx.request(method, address, files=files).status_code == 403
    there = {"Origin": "http://127.0.0.1:1"}
    assert httpx.request(method, address, files=files, headers=there).status_code == 403


def test_every_answer_says_who_may_frame_it(pages_url: str) -> None:
    headers = httpx.get(pages_url).headers
    assert headers["content-security-policy"] == "frame-ancestors 'self'"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
