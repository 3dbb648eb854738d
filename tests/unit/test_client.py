"""The typed client against a small HTTP server: what it sends, and how it fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from data_models import IndexStatus, ProductListQuery, ProductOut, SuggestionKind, SuggestQuery
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.schemas.examples import SEARCH_ANSWER, SUGGESTIONS

PRODUCT: dict[str, Any] = {
    "product_id": 7,
    "sku": None,
    "title": "书包🎒",
    "description": None,
    "category": None,
    "brand": None,
    "price": "19.90",
    "attributes": {},
    "group": None,
    "image_url": "/product/7/image",
    "image_generated": False,
    "milvus_id": "911804546078119973",
    "revision": 3,
    "index_status": "indexed",
    "index_error": None,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}


class Server:
    """Answers every request with what it was told, and remembers the last one."""

    def __init__(self) -> None:
        self.status = 200
        self.body: bytes = b"{}"
        self.seen: tuple[Any, ...] = ()
        self.authorization: str | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("content-length", 0)))
                server.seen = (self.command, self.path, json.loads(content) if content else None)
                server.authorization = self.headers.get("authorization")
                self.send_response(server.status)
                self.send_header("content-length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body)

            do_GET = do_POST = do_PATCH = do_DELETE = _answer

            def log_message(self, *_arguments: object) -> None:
                """Quiet."""

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, body: object, status: int = 200) -> None:
        self.body = json.dumps(body).encode()
        self.status = status


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture
def client(server: Server) -> Iterator[ApiClient]:
    client = ApiClient(server.url + "/")
    yield client
    client.close()


def test_a_product_is_read(server: Server, client: ApiClient) -> None:
    server.answer(PRODUCT)
    product = client.get_product(7)
    assert server.seen == ("GET", "/product/7", None)
    assert (product.title, str(product.price)) == ("书包🎒", "19.90")
    assert product.index_status is IndexStatus.indexed


def test_an_image_travels_as_base64(server: Server, client: ApiClient) -> None:
    server.answer(PRODUCT | {"duplicates": [3]}, 201)
    assert client.create_product({"title": "书包"}, b"\x00\x01", wait=True).duplicates == [3]
    sent: dict[str, Any] = {"title": "书包", "image_base64": "AAE="}
    assert server.seen == ("POST", "/product?wait=true", sent)
    client.update_product(7, {"image_base64": None})
    removed: dict[str, Any] = {"image_base64": None}
    assert server.seen == ("PATCH", "/product/7", removed)


def test_a_search_sends_only_what_was_given(server: Server, client: ApiClient) -> None:
    server.answer(SEARCH_ANSWER)
    client.search({"text": "书包", "mode": None, "filters": {"brand": ["拾光"]}}, b"picture")
    body = {"text": "书包", "filters": {"brand": ["拾光"]}, "image_base64": "cGljdHVyZQ=="}
    assert server.seen == ("POST", "/search", body)


def test_suggestions_are_read(server: Server, client: ApiClient) -> None:
    server.answer(SUGGESTIONS)
    first = client.suggest(SuggestQuery(q="lany", limit=2)).suggestions[0]
    assert server.seen == ("GET", "/suggest?q=lany&limit=2", None)
    assert (first.text, first.kind, first.products) == ("蓝牙耳机", SuggestionKind.query, 8)


def test_a_list_sends_only_what_was_set(server: Server, client: ApiClient) -> None:
    server.answer({"items": [PRODUCT], "total": 1, "page": 2, "page_size": 20})
    page = client.list_products(ProductListQuery(page=2, min_price="1.50"))
    assert server.seen[1] == "/product/list?min_price=1.50&page=2"
    assert page.items[0].product_id == 7


def test_an_error_answer_keeps_its_code_and_fields(server: Server, client: ApiClient) -> None:
    fields = {"sku": "已被另一个商品使用"}
    server.answer({"code": "duplicate_sku", "message": "重复", "fields": fields}, 409)
    with pytest.raises(ApiError) as caught:
        client.create_product({"title": "书包"})
    assert (caught.value.status, caught.value.body.code) == (409, "duplicate_sku")
    assert caught.value.body.fields == fields


@pytest.mark.parametrize(
    "body", [b"<html>Bad Gateway</html>", b"", b"[]", b'{"detail": 1}', b"\xff"]
)
def test_an_error_that_is_not_our_apis_is_still_an_error(
    server: Server, client: ApiClient, body: bytes
) -> None:
    server.body, server.status = body, 502
    with pytest.raises(ApiError) as caught:
        client.delete_product(7)
    assert (caught.value.status, caught.value.body.code) == (502, "http_error")


def test_a_service_that_is_down_says_so_as_an_answer(server: Server, client: ApiClient) -> None:
    server.answer(
        {
            "status": "down",
            "reasons": ["数据库：没有响应"],
            "storage": "ok",
            "database": "down",
            "vector_store": "ok",
            "encoders": {"name": "starter", "fingerprint": "f", "device": "cpu"},
            "outbox": {"pending": 0, "retrying": 0, "failed": 0},
        },
        503,
    )
    assert client.get_health().status == "down"


def test_no_answer_is_said_to_be_none() -> None:
    client = ApiClient("http://127.0.0.1:1")
    with pytest.raises(ApiUnreachable, match=r"127\.0\.0\.1:1"):
        client.get_health()
    client.close()


def test_a_thumbnails_address_changes_with_the_product(client: ApiClient) -> None:
    product = ProductOut.model_validate(PRODUCT)
    address = client.image_url(product, 256)
    assert address == f"{client.base_url}/product/7/image?size=256&revision=3"
    assert client.image_url(product.model_copy(update={"image_url": None}), 256) is None


def test_a_thumbnails_address_is_the_one_that_browsers_reach() -> None:
    client = ApiClient("http://api:8000", "https://shop.example/")
    address = client.image_url(ProductOut.model_validate(PRODUCT), 64)
    assert address == "https://shop.example/product/7/image?size=64&revision=3"
    client.close()


def test_a_signed_address_keeps_its_signature() -> None:
    client = ApiClient("http://api:8000", "https://shop.example/")
    signed = "/product/7/image?signature=1-x"
    product = ProductOut.model_validate(PRODUCT | {"image_url": signed})
    address = client.image_url(product, 64)
    assert address == f"https://shop.example{signed}&size=64&revision=3"
    assert client.public_url("/generate/1/image/2", size=64).endswith("/generate/1/image/2?size=64")
    client.close()


@pytest.mark.parametrize(("key", "sent"), [("psk_a_b", "Bearer psk_a_b"), (None, None), ("", None)])
def test_the_key_is_sent_with_each_request(
    server: Server, key: str | None, sent: str | None
) -> None:
    server.answer(PRODUCT)
    client = ApiClient(server.url, key=key)
    client.get_product(7)
    assert server.authorization == sent
    client.close()
