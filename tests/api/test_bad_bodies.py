"""Bodies that are no request: never a 500, a stable code, nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import base64_of, code_of, create, everything, fields_of, form
from tests.unit.pictures import over_ten_megabytes

JSON = {"content-type": "application/json"}
ROUTES = [("POST", "/product"), ("PATCH", "/product/{id}"), ("POST", "/search")]
IDS = ["create", "update", "search"]
Send = Callable[..., Any]


@pytest.fixture(scope="module")
def product(api: TestClient) -> dict[str, Any]:
    """A product to change and to search for."""
    return create(api, wait=True, sku="HERE", title="原样", attributes={"a": 1})


@pytest.fixture(params=ROUTES, ids=IDS)
def send(
    request: pytest.FixtureRequest, api: TestClient, product: dict[str, Any]
) -> Iterator[Send]:
    """Sends a body to each route that reads one, which must leave everything as it was."""
    method, path = request.param
    url = path.format(id=product["product_id"])
    before = everything(api)
    yield lambda **body: api.request(method, url, **body)
    assert everything(api) == before


def deep(opening: str, closing: str, depth: int, key: str = "attributes") -> str:
    inner = opening * depth + closing * depth
    return f'{{"title": "x", "mode": "text_to_text", "text": "x", "{key}": {inner}}}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"title": "x"',
        b"{'title': 'x'}",
        b'{"title": "x",}',
        b'{"title": "\xff\xfe"}',
        b'{"title": "x\ny"}',
        b'{"title": NaN}',
        b'{"price": NaN}',
        b'{"price": Infinity}',
        b'{"price": -Infinity}',
        b'{"title": "x"} {"title": "y"}',
        b"\x00",
        b"\xef\xbb\xbf{",
        b'{"price": ' + b"9" * 5_000 + b"}",
        b"[" * 10_000,
        b'{"a":' * 10_000,
    ],
    ids=lambda content: ascii(content[:16]),
)
def test_a_body_that_is_no_json_is_refused(send: Send, content: bytes) -> None:
    assert code_of(send(content=content, headers=JSON)) == (422, "invalid_json")


@pytest.mark.parametrize(
    "content", [b"[]", b'[{"title": "x"}]', b'"title"', b"5", b"null", b"true"]
)
def test_json_that_is_no_object_is_refused(send: Send, content: bytes) -> None:
    assert code_of(send(content=content, headers=JSON)) == (422, "invalid_request")


@pytest.mark.parametrize("depth", [50, 200, 400, 900])
@pytest.mark.parametrize("key", ["attributes", "filters", "unknown"])
def test_deep_nesting_is_refused(send: Send, depth: int, key: str) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        text = deep(opening, closing, depth, key).replace(":}", ":1}")
        status, code = code_of(send(content=text.encode(), headers=JSON))
        assert (status, code) in {(422, "invalid_request"), (422, "invalid_json")}


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/jsonp",
        "application/merge-patch+json",
        "multipart/mixed; boundary=x",
        "image/png",
        ";;;",
        "é",
    ],
)
def test_another_content_type_is_refused(send: Send, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type.encode("latin-1")}
    answer = send(content=b'{"title": "x"}', headers=headers)
    assert code_of(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("PATCH", "/product/none", "product_id"),
        ("PATCH", "/product/1?wait=perhaps", "wait"),
        ("POST", "/product?wait=perhaps", "wait"),
    ],
)
@pytest.mark.parametrize("content", [b"x", b"x" * (15 * 1024 * 1024 + 1)], ids=["text", "large"])
def test_a_wrong_address_is_told_before_a_wrong_body(
    api: TestClient, method: str, path: str, field: str, content: bytes
) -> None:
    answer = api.request(method, path, content=content, headers={"content-type": "text/plain"})
    assert code_of(answer) == (422, "invalid_request")
    assert field in fields_of(answer)


def test_the_content_types_parameters_and_case_do_not_matter(api: TestClient) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    content = json.dumps({"title": "书包"}, ensure_ascii=False).encode()
    assert api.post("/product", content=content, headers=headers).status_code == 201


@pytest.mark.parametrize("name", ["colour", "product_id2", "query", "body", "", "标题", "image"])
def test_an_unknown_field_is_refused_and_named(send: Send, name: str) -> None:
    answer = send(json={"title": "x", "mode": "text_to_text", "text": "x", name: 1})
    assert code_of(answer) == (422, "invalid_request")
    assert name in fields_of(answer)


@pytest.mark.parametrize(
    "text",
    [
        '{"title": "\\ud800", "mode": "text_to_text", "text": "\\udfff"}',
        '{"\\ud800": 1, "title": "x", "mode": "text_to_text", "text": "x"}',
        '{"image_base64": "\\ud800", "title": "x", "mode": "image_to_image"}',
        '{"attributes": {"\\ud800": 1}, "title": "x", "filters": {"\\udc00": 1}}',
        '{"attributes": {"a": ["\\ud800"]}, "title": "x", "filters": {"brand": "\\ud800"}}',
        '{"sku": "\\ud83d", "title": "x", "mode": "\\ud83d", "text": "x"}',
        '{"title": "\\ud83d", "text": "x", "filters": {"attributes": {"\\ud800": ["\\ud800"]}}}',
        '{"price": "\\ud83d", "title": "x", "mode": "text_to_text", "product_id": "\\ud83d"}',
    ],
    ids=[
        "text",
        "field name",
        "image",
        "inner name",
        "inner value",
        "label",
        "attribute",
        "number",
    ],
)
def test_half_a_character_is_refused_wherever_it_stands(send: Send, text: str) -> None:
    assert code_of(send(content=text.encode(), headers=JSON)) == (422, "invalid_request")


def test_a_body_over_the_limit_is_refused(send: Send) -> None:
    over = b'{"title": "' + b"x" * (16 * 1024 * 1024) + b'"}'
    assert code_of(send(content=over, headers=JSON)) == (413, "payload_too_large")
    files = {"image": ("a.png", b"x" * (16 * 1024 * 1024), "image/png")}
    assert code_of(send(files=files)) == (413, "payload_too_large")


@pytest.mark.parametrize("field", ["image", "image_base64"])
@pytest.mark.parametrize(("method", "path"), ROUTES, ids=IDS)
def test_an_image_over_ten_megabytes_is_refused(
    api: TestClient, product: dict[str, Any], method: str, path: str, field: str
) -> None:
    before = everything(api)
    url = path.format(id=product["product_id"])
    fields = {"mode": "image_to_image"} if path == "/search" else {"title": "y"}
    content = over_ten_megabytes()
    if field == "image":
        files = {"image": ("a.jpg", content, "image/jpeg")}
        answer = api.request(method, url, data=fields, files=files)
    else:
        answer = api.request(method, url, json=fields | {"image_base64": base64_of(content)})
    assert code_of(answer) == (413, "image_too_large")
    assert everything(api) == before


PART = 'Content-Disposition: form-data; name="{}"'.format
FILE = 'Content-Disposition: form-data; name="{}"; filename="a.png"'.format


@pytest.mark.parametrize(
    "parts",
    [
        [(PART("title"), b"a"), (PART("title"), b"b")],
        [(FILE("image"), b"a"), (FILE("image"), b"b")],
        [(FILE("image"), b"a"), (FILE("image"), b"b"), (FILE("image"), b"c")],
        [(PART("title"), b"a"), (FILE("picture"), b"b")],
        [(PART("title"), b"a"), (FILE("title"), b"b")],
        [(PART("title"), b"a"), (PART("image"), b"b")],
        [(PART("title"), b"a"), (PART("image_base64"), b"AA=="), (FILE("image"), b"b")],
        [(PART("title"), b"a"), ("Content-Disposition: form-data", b"b")],
        [(PART("title"), b"a"), ("X-Nothing: 1", b"b")],
        [(PART("title"), b"a"), (PART("colour"), b"b")],
        [(PART("title"), b"a"), (PART(""), b"b")],
        [(PART(f"f{number}"), b"") for number in range(60)],
        [(PART("title"), b"x" * (2 * 1024 * 1024))],
        [(PART("title"), b"\xff\xfe\xfd")],
    ],
    ids=[
        "field twice",
        "two files",
        "three files",
        "other file",
        "field and file",
        "image as text",
        "two pictures",
        "no name",
        "no disposition",
        "unknown field",
        "empty name",
        "many fields",
        "long field",
        "no utf-8",
    ],
)
def test_a_wrong_form_is_refused(send: Send, parts: list[tuple[str, bytes]]) -> None:
    assert code_of(send(**form("xyz", *parts))) == (422, "invalid_request")


@pytest.mark.parametrize("name", ["attributes", "filters"])
@pytest.mark.parametrize("text", [b"{", b"NaN", b"\xff", b"", b"[" * 10_000])
def test_a_json_field_of_a_form_that_is_no_json_is_refused(
    send: Send, name: str, text: bytes
) -> None:
    status, code = code_of(send(**form("xyz", (PART("title"), b"a"), (PART(name), text))))
    assert (status, code) in {(422, "invalid_json"), (422, "invalid_request")}


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("multipart/form-data", b"--x--\r\n"),
        ("multipart/form-data; boundary=", b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b"no boundary at all"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="title"'),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 5_000, b"--x--\r\n"),
    ],
    ids=["none", "empty", "no body", "end only", "no part", "cut short", "no headers", "long"],
)
def test_a_broken_form_is_refused(
    send: Send, content_type: str, content: bytes, request: pytest.FixtureRequest
) -> None:
    answer = send(content=content, headers={"content-type": content_type})
    if answer.status_code == 200:  # a form without a field changes nothing
        assert "update" in request.node.name
    else:
        assert code_of(answer) == (422, "invalid_request")


@pytest.mark.parametrize("charset", ["nonsense", "undefined", "utf-16", "idna", "utf-7", "rot13"])
def test_the_charset_of_a_form_does_no_harm(send: Send, charset: str) -> None:
    body = form("xyz", (PART("titel"), "书包".encode()), (PART("mode"), b"+2AA-\xff"))
    body["headers"]["content-type"] += f"; charset={charset}"
    assert code_of(send(**body)) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/nowhere", (404, "not_found")),
        ("GET", "/product/1/nowhere", (404, "not_found")),
        ("POST", "/product/list", (405, "method_not_allowed")),
        ("DELETE", "/search", (405, "method_not_allowed")),
        ("PUT", "/product/1", (405, "method_not_allowed")),
        ("GET", "/search", (405, "method_not_allowed")),
    ],
)
def test_an_unknown_address_or_method_has_an_error_body_too(
    api: TestClient, method: str, path: str, error: tuple[int, str]
) -> None:
    assert code_of(api.request(method, path)) == error
