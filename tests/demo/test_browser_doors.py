"""A real browser, in which pages of other sites try to write and to read; the API's own page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from data_models import ProductListQuery, ProductOut
from product_search.client import ApiClient
from tests.clock import until
from tests.demo.conftest import WAIT_MS

TITLE = "别的网站写入的商品"
PAGE = """<!doctype html><title>another site</title><iframe name="sink"></iframe><script>
function submitForm(address, encoding, fields) {
  const form = document.createElement("form");
  Object.assign(form, {action: address, method: "POST", enctype: encoding, target: "sink"});
  for (const [name, value] of Object.entries(fields))
    form.append(Object.assign(document.createElement("input"), {name, value}));
  document.body.append(form);
  form.submit();
}
function submitWithoutOrigin(address, title) {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts allow-forms";
  frame.srcdoc = `<form action="${address}" method="POST" enctype="multipart/form-data">
    <input name="title" value="${title}"></form><script>document.forms[0].submit()<\\/script>`;
  document.body.append(frame);
}
async function outcome(address, options) {
  try {
    const answer = await fetch(address, options);
    return [answer.type, (await answer.text()).length];
  } catch (error) { return [error.name]; }
}
function isLoaded(kind, address) {
  const part = document.createElement(kind);
  return new Promise((resolve) => {
    part.onload = () => resolve(kind !== "img" || part.naturalWidth > 0);
    part.onerror = () => resolve(false);
    part.src = address;
    document.body.append(part);
  });
}
</script>"""


class _Site(BaseHTTPRequestHandler):
    """A web server whose every page is the one above."""

    def do_GET(self) -> None:
        content = PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_told: Any) -> None:
        """Be silent."""


@pytest.fixture(scope="module")
def site_port() -> Iterator[int]:
    """The port of another site on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """An empty tab."""
    context = browser.new_context(locale="zh-CN")
    context.set_default_timeout(WAIT_MS)
    yield context.new_page()
    context.close()


# Another port is another origin of the same site, and another name is another site.
@pytest.fixture(params=["127.0.0.1", "localhost"])
def other_site(tab: Page, site_port: int, request: pytest.FixtureRequest) -> Page:
    """The tab, showing a page of another site."""
    tab.goto(f"http://{request.param}:{site_port}/")
    return tab


def catalog(service: ApiClient) -> list[ProductOut]:
    """All products."""
    return service.list_products(ProductListQuery(page_size=100)).items


def refusals(service: ApiClient) -> float:
    """How many requests the service has refused so far."""
    told = httpx.get(f"{service.base_url}/metrics", trust_env=False).text.splitlines()
    return sum(float(line.split()[-1]) for line in told if 'unmatched",status="403"' in line)


def send(page: Page, service: ApiClient, script: str, *arguments: Any) -> None:
    """Have the page send a request, which the service refuses.

    The browser tells neither the page nor this test how it was answered.
    """
    before = refusals(service)
    page.evaluate(script, [f"{service.base_url}/product", *arguments])
    until(lambda: refusals(service) == before + 1, "the refusal", deadline_s=30)


def test_forms_of_another_site_create_nothing(other_site: Page, service: ApiClient) -> None:
    before = catalog(service)
    submit = "([address, encoding, fields]) => submitForm(address, encoding, fields)"
    json = {f'{{"title": "{TITLE}", "description": "': '"}'}
    forms: list[tuple[str, dict[str, str]]] = [
        ("application/x-www-form-urlencoded", {"title": TITLE}),
        ("multipart/form-data", {"title": TITLE}),
        ("text/plain", json),
    ]
    for encoding, fields in forms:
        send(other_site, service, submit, encoding, fields)
    nobody = "([address, title]) => submitWithoutOrigin(address, title)"
    send(other_site, service, nobody, TITLE)
    assert catalog(service) == before


def test_scripts_of_another_site_write_nothing(other_site: Page, service: ApiClient) -> None:
    before = catalog(service)
    body = f'{{"title": "{TITLE}"}}'
    ask = "([address, options]) => outcome(address, options)"
    send(other_site, service, ask, {"method": "POST", "mode": "no-cors", "body": body})
    form = """([address, title]) => {
      const form = new FormData();
      form.append("title", title);
      return outcome(address, {method: "POST", mode: "no-cors", body: form});
    }"""
    send(other_site, service, form, TITLE)
    beacon = "([address, body]) => { navigator.sendBeacon(address, body); }"
    send(other_site, service, beacon, body)
    json = {"Content-Type": "application/json"}
    asked_first: list[dict[str, Any]] = [
        {"method": "DELETE"},
        {"method": "PATCH", "body": "{}"},
        {"method": "POST", "headers": json, "body": body},
    ]
    first = f"{service.base_url}/product/{before[0].product_id}"
    for options in asked_first:
        assert other_site.evaluate(ask, [first, options]) == ["TypeError"]
    assert catalog(service) == before


def test_another_site_reads_nothing(other_site: Page, service: ApiClient) -> None:
    address = f"{service.base_url}/product/list"
    ask = "([address, options]) => outcome(address, options)"
    for options in ({}, {"mode": "no-cors"}, {"credentials": "include"}):
        told = other_site.evaluate(ask, [address, options])
        assert told in (["TypeError"], ["opaque", 0])
    is_loaded = "([kind, address]) => isLoaded(kind, address)"
    for kind in ("img", "script"):
        assert other_site.evaluate(is_loaded, [kind, address]) is False
    # Images are to be shown, and no page is to be framed.
    image = next(one.image_url for one in catalog(service) if one.image_url)
    assert other_site.evaluate(is_loaded, ["img", f"{service.base_url}{image}"]) is True
    other_site.evaluate(is_loaded, ["iframe", f"{service.base_url}/docs"])
    assert [frame.url for frame in other_site.frames if "/docs" in frame.url] == []


def test_a_rebound_name_reads_and_deletes_nothing(browser: Browser, service: ApiClient) -> None:
    before = catalog(service)
    # The attacker's page has no policy that keeps its scripts from fetching.
    page = browser.new_page(bypass_csp=True)
    answer = page.goto(f"http://rebound.test:{urlsplit(service.base_url).port}/product/list")
    assert answer is not None
    assert (answer.status, answer.json()["code"]) == (421, "host_not_allowed")
    delete = """async (path) => {
      const answer = await fetch(path, {method: "DELETE"});
      return [answer.status, (await answer.json()).code];
    }"""
    told = page.evaluate(delete, f"/product/{before[0].product_id}")
    assert told == [421, "host_not_allowed"]
    assert catalog(service) == before
    page.close()


def test_the_documentation_needs_no_other_host(tab: Page, service: ApiClient) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    tab.goto(f"{service.base_url}/docs")
    operation = tab.locator("#operations-商品-list_products")
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table td.response-col_status").last).to_have_text(
        "200"
    )
    assert complaints == []
    here = urlsplit(service.base_url).netloc
    assert {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))} == {
        here
    }
