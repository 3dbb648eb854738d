"""Headers of forms that nobody expects: an answer that says what is wrong, never a 500."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import base64_of, code_of, create, form
from tests.unit.pictures import encoded, four_colours

CSV = "sku,title\nHA-1,藤椅\n".encode()
PHOTO = encoded(four_colours(), "PNG")
TITLE = ('Content-Disposition: form-data; name="title"', "藤椅".encode())
NAME = base64.b64encode("药品.csv".encode()).decode()
ROUTES = [
    ("POST", "/product"),
    ("PATCH", "/product/1"),
    ("POST", "/search"),
    ("POST", "/rerank"),
    ("POST", "/product/titles"),
    ("POST", "/product/import"),
]
IDS = ["create", "update", "search", "rerank", "titles", "import"]


@pytest.fixture(scope="module", autouse=True)
def product(api: TestClient) -> dict[str, Any]:
    """The product that the PATCH of ROUTES is sent to."""
    made = create(api, title="原样")
    assert made["product_id"] == 1
    return made


@pytest.mark.parametrize(
    "parameters",
    [
        "boundary*=utf-8''%E5%8C%85",
        "boundary*=utf-16''%E5%8C",
        "boundary*=undefined''x",
        "boundary*=\0''x",
        "boundary*=''",
        "boundary*=x; boundary*0=y; boundary*1*=z",
        f"boundary*{'9' * 5000}*=x",
        f"boundary={'x' * 300}",
        f'boundary="{"x" * 100_000}"',
        'boundary="',
        "boundary=é",
        "boundary",
        "=x; ;; boundary==x",
        "boundary=x; charset*=utf-8''%FF",
        "boundary=x; charset=\0",
    ],
)
@pytest.mark.parametrize(("method", "path"), ROUTES, ids=IDS)
def test_an_odd_boundary_is_refused(
    api: TestClient, method: str, path: str, parameters: str
) -> None:
    content_type = f"multipart/form-data; {parameters}".encode("latin-1")
    body = form("包", TITLE)["content"]
    answer = api.request(method, path, content=body, headers={b"content-type": content_type})
    assert code_of(answer) in {(415, "unsupported_media_type"), (422, "invalid_request")}


def test_another_media_type_is_told_before_its_boundary(api: TestClient) -> None:
    headers = {"content-type": "multipart/mixed; boundary*=utf-8''%E5%8C%85"}
    for method, path in ROUTES:
        answer = api.request(method, path, content=b"x", headers=headers)
        assert code_of(answer) == (415, "unsupported_media_type")


def test_a_long_boundary_is_told_by_its_length(api: TestClient) -> None:
    body = form("x" * 300, ('Content-Disposition: form-data; name="file"; filename="a.csv"', CSV))
    answer = api.post("/product/import", **body)
    assert code_of(answer) == (422, "invalid_request")
    assert "300" in answer.json()["message"]


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Disposition: form-data; name*=utf-8''%FF; filename*=x",
        "Content-Disposition: form-data; name=; filename*=undefined''%FF",
        'Content-Disposition: form-data; name="\\"; filename="',
        "Content-Disposition: form-data; name=title; filename*=unicode_escape''%5Cud800",
        "Content-Disposition: form-data; filename*=utf-8''a; filename*0=b; filename*1*=%",
        'Content-Disposition: form-data; name="image"; filename="=?utf-7?Q?+2AA-?="',
        "Content-Disposition: form-data; name=title; name=colour",
        "Content-Disposition:",
        "Content-Disposition",
        ": form-data",
        "\r\n",
        f"X: {'x' * 5_000}",
        "\r\n".join(f"X-{number}: 1" for number in range(50)),
        "Content-Type: text/plain; charset=undefined",
        "Content-Transfer-Encoding: base64",
    ],
    ids=range(15),
)
@pytest.mark.parametrize(("method", "path"), ROUTES, ids=IDS)
def test_a_part_with_odd_headers_is_refused(
    api: TestClient, method: str, path: str, headers: str
) -> None:
    answer = api.request(method, path, **form("x", (headers, b"x")))
    assert answer.status_code in {415, 422}
    code_of(answer)


@pytest.mark.parametrize("disposition", [b'name="\xff\xfe"', b'name="image"; filename="\xff"'])
@pytest.mark.parametrize(("method", "path"), ROUTES, ids=IDS)
def test_bytes_of_no_charset_are_refused(
    api: TestClient, method: str, path: str, disposition: bytes
) -> None:
    part = b"--x\r\nContent-Disposition: form-data; %b\r\n\r\nx\r\n--x--\r\n" % disposition
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert code_of(api.request(method, path, content=part, headers=headers))[0] == 422


@pytest.mark.parametrize("length", ["", "x", "-1", "+5", "²", "9" * 5_000])
def test_the_length_of_an_import_may_be_odd(api: TestClient, length: str) -> None:
    part = ('Content-Disposition: form-data; name="file"; filename="a.xlsx"', CSV)
    body = form("x", part)
    body["headers"]["content-length"] = length.encode("latin-1")
    assert code_of(api.post("/product/import", **body)) == (415, "import_type_unknown")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (f'filename="=?utf-8?B?{NAME}?="', "药品.csv"),
        ("filename*=UTF-8''%E8%97%A4%E6%A4%85.csv", "藤椅.csv"),
        ("filename*0*=UTF-8''%E8%97%A4; filename*1=.csv", "藤.csv"),
        ("filename=\"?.csv\"; filename*=UTF-8''%E8%97%A4.csv", "藤.csv"),
        ('filename="藤椅.csv"', "藤椅.csv"),
    ],
)
def test_a_file_is_imported_under_the_name_that_was_meant(
    api: TestClient, written: str, name: str
) -> None:
    part = (f'Content-Disposition: form-data; name="file"; {written}', CSV)
    answer = api.post("/product/import", **form("x", part))
    assert answer.status_code == 202, answer.text
    status = api.get(answer.json()["status_url"]).json()
    assert status["file"] == name


@pytest.mark.parametrize(
    "written", ["filename*=UTF-8''%E8%97%A4.png", f'filename="=?utf-8?B?{NAME}?="']
)
def test_an_image_is_a_file_however_its_name_is_written(api: TestClient, written: str) -> None:
    part = (f'Content-Disposition: form-data; name="image"; {written}', PHOTO)
    answer = api.post("/product", **form("x", TITLE, part))
    assert answer.status_code == 201, answer.text
    assert api.get(answer.json()["image_url"]).content == PHOTO


def test_a_text_and_a_file_of_one_image_are_refused(api: TestClient) -> None:
    base64_part = ('Content-Disposition: form-data; name="image_base64"', base64_of(PHOTO).encode())
    part = ("Content-Disposition: form-data; name=\"image\"; filename*=utf-8''a.png", PHOTO)
    answer = api.post("/product", **form("x", TITLE, base64_part, part))
    assert code_of(answer) == (422, "invalid_request")
