"""The doors of the real service: who is refused, and what browsers are told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.settings import Settings
from tests.api.helpers import base64_of, code_of, create, everything
from tests.api.serving import serving
from tests.api.small_app import ask, connected, head, rest

SHOP = "https://shop.example.com"
EVIL = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
# What a page may send to anybody without being asked first: forms, and fetch with mode no-cors.
SIMPLE: dict[str, dict[str, Any]] = {
    "a form": {"data": {"title": "书包"}},
    "a form with a file": {"data": {"title": "书包"}, "files": {"x": ("x", b"x")}},
    "a form of text": {"content": '{"title": "书包"}', "headers": {"content-type": "text/plain"}},
    "json": {"content": '{"title": "书包"}', "headers": {"content-type": "application/json"}},
    "a beacon": {"content": '{"title": "书包"}'},
}


@pytest.fixture(scope="module")
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service whose pages are of the shop."""
    settings = open_settings().model_copy(update={"cors_origins": (SHOP,)})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def counted(api: TestClient, status: int) -> float:
    """How many requests that reached no route were answered so."""
    lines = api.get("/metrics").text.splitlines()
    wanted = re.compile(
        rf'product_search_http_requests_total{{[^}}]*route="unmatched",status="{status}"}} (.*)'
    )
    return sum(float(found[1]) for line in lines if (found := wanted.fullmatch(line)))


@pytest.mark.parametrize("kind", SIMPLE)
@pytest.mark.parametrize("page", [EVIL, {"origin": "null"}, {"sec-fetch-site": "same-site"}])
def test_a_page_of_another_site_creates_and_deletes_nothing(
    api: TestClient, kind: str, page: dict[str, str]
) -> None:
    product = create(api)
    before = everything(api)
    sent = SIMPLE[kind] | {"headers": SIMPLE[kind].get("headers", {}) | page}
    path = f"/product/{product['product_id']}"
    for method, address in (("POST", "/product"), ("PATCH", path), ("DELETE", path)):
        assert code_of(api.request(method, address, **sent)) == (403, "cross_site")
    for address in ("/product/import", "/system/repair", "/product/duplicates", "/generate"):
        assert code_of(api.post(address, **sent)) == (403, "cross_site")
    assert everything(api) == before


def test_a_page_of_another_site_reads_nothing(api: TestClient) -> None:
    answer = api.get("/product/list", headers=EVIL)
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "Origin" in answer.headers["vary"]
    asked = {"access-control-request-method": "DELETE"}
    preflight = api.options("/product/1", headers=EVIL | asked)
    assert code_of(preflight) == (403, "cross_site")
    assert "access-control-allow-origin" not in preflight.headers


def test_a_page_of_an_allowed_origin_reads_and_writes(api: TestClient) -> None:
    page = {"origin": SHOP, "sec-fetch-site": "cross-site"}
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    preflight = api.options("/search", headers=page | asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == SHOP
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert {"authorization", "content-type"} <= set(
        preflight.headers["access-control-allow-headers"].split(", ")
    )
    found = api.post("/search", json={"text": "书包"}, headers=page)
    refused = api.post("/search", json={"text": 1}, headers=page)
    for answer in (preflight, found, refused):
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert "access-control-allow-credentials" not in answer.headers
        assert "Origin" in answer.headers["vary"]
    assert "retry-after" in found.headers["access-control-expose-headers"]


def test_a_plain_options_is_no_preflight(api: TestClient) -> None:
    assert code_of(api.options("/search", headers=EVIL)) == (405, "method_not_allowed")
    asked = {"access-control-request-method": "POST"}
    assert code_of(api.options("/search", headers=asked)) == (405, "method_not_allowed")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "HEAD"])
def test_a_rebound_name_is_refused_whatever_is_asked(api: TestClient, method: str) -> None:
    before = everything(api)
    rebound = {"host": "rebound.example:8000", "sec-fetch-site": "same-origin"}
    for path in ("/product/list", "/product", "/docs", "/health", "/openapi.json", "/nothing"):
        answer = api.request(method, path, headers=rebound)
        assert answer.status_code == 421
        if method != "HEAD":
            assert code_of(answer) == (421, "host_not_allowed")
    assert everything(api) == before


def test_refusals_are_counted_and_logged_once(
    api: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    hosts, sites = counted(api, 400), counted(api, 403)
    for _ in range(5):
        path = "/product%0AWARNING:%20forged"
        assert code_of(api.post(path, headers=EVIL)) == (403, "cross_site")
        assert code_of(api.get(path, headers={"host": "a\x0b@b"})) == (400, "invalid_host")
    assert (counted(api, 400) - hosts, counted(api, 403) - sites) == (5, 5)
    lines = [line for line in caplog.messages if "invalid_host" in line]
    assert len(lines) == 1
    assert "\n" not in lines[0]


def test_every_answer_is_shown_in_no_frame_and_taken_for_nothing_else(
    api: TestClient, png: Callable[..., bytes]
) -> None:
    product = create(api, image_base64=base64_of(png()))
    image = api.get(f"/product/{product['product_id']}/image")
    refused = api.get("/health", headers={"host": "rebound.example"})
    others = [api.get(path) for path in ("/health", "/product/0", "/nothing", "/metrics", "/docs")]
    for answer in (image, refused, api.put("/health"), *others):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        shown_by = "cross-origin" if answer is image else "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == shown_by


def test_the_documentation_names_no_other_host(api: TestClient) -> None:
    page = api.get("/docs")
    assert "//" not in page.text
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(files) == 4
    for file in files:
        answer = api.get(f"/{file}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] in (
            "text/css",
            "text/javascript",
            "image/png",
        )
    assert "Apache License" in api.get("/docs/swagger-ui.LICENSE.txt").text
    for path in ("/redoc", "/docs/nothing", "/docs/oauth2-redirect", "/docs/..%2Fpage.html"):
        assert api.get(path).status_code == 404


def test_requests_as_nobody_should_write_them_or_too_many_are_refused(
    open_settings: Callable[[], Settings],
) -> None:
    chunked = head("POST", "/search", "Transfer-Encoding: chunked") + b"0\r\n"
    targets = {
        head("GET", "http://evil.example/health"): "host_not_allowed",
        head("GET", "http://localhost@evil.example/health"): "invalid_host",
        head("GET", "http://localhost/health?http://evil.example"): None,
        head("GET", "/health", "Host: evil.example"): "invalid_host",
        b"GET /health HTTP/1.1\r\n\r\n": "invalid_host",
        b"GET /health HTTP/1.1\r\nHost:\r\n\r\n": "invalid_host",
        b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n": "host_not_allowed",
        b"GET http://localhost/health HTTP/1.1\r\nHost: evil.example\r\n\r\n": None,
        b"GET /health HTTP/1.1\r\nhOST: LOCALHOST.:80\r\n\r\n": None,
        # What follows a body is no header, of whatever name: a proxy before may have set that.
        chunked + b"Host: evil.example\r\n\r\n": "unsupported_media_type",
        chunked + b"Content-Type: application/json\r\n\r\n": "unsupported_media_type",
    }
    settings = open_settings().model_copy(update={"rate_limit": "1100/hour"})
    with serving(create_app(settings)) as port:
        codes = {target: ask(port, target)[1].get("code") for target in targets}
        with connected(port, b"GET /health HTTP/1.0\r\n\r\n") as client:
            assert rest(client).startswith(b"HTTP/1.1 200")
        # A body that is refused is not waited for, and the connection goes on.
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            big = http.post("/product", content=b"x" * 5_000_000, headers=EVIL)
            assert code_of(big) == (403, "cross_site")
            assert http.get("/health/live").status_code == 200
            imports = [http.post("/product/import").status_code for _ in range(6)]
            assert http.get("/health").status_code == 200
        assert imports == [*imports[:1] * 5, 429]
    assert codes == targets
