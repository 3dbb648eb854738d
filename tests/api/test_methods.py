"""Every address answers 405 to the methods that it does not take, and says which it takes."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from main import create_app
from tests.api.helpers import code_of

PATHS: dict[str, Any] = create_app().openapi()["paths"]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "BREW")
IDS = {"product_id": 1, "import_id": 1, "generation_id": 1, "number": 1}


@pytest.mark.parametrize("path", PATHS)
def test_an_address_names_all_its_methods_to_those_that_ask_otherwise(
    api: TestClient, path: str
) -> None:
    taken = sorted(method.upper() for method in PATHS[path])
    for method in sorted({*METHODS} - {*taken}):
        answer = api.request(method, path.format(**IDS))
        assert answer.status_code == 405, method
        assert answer.headers["allow"] == ", ".join(taken)
        if method != "HEAD":
            assert code_of(answer) == (405, "method_not_allowed")


@pytest.mark.parametrize("method", ["PUT", "HEAD", "BREW"])
def test_an_odd_id_has_the_methods_of_any_other(api: TestClient, method: str) -> None:
    for given in ("0", "-1", "abc", "%00", "1%2E", str(2**63)):
        answer = api.request(method, f"/product/{given}")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "DELETE, GET, PATCH"


def test_a_body_where_none_belongs_is_not_read(api: TestClient) -> None:
    for path in ("/product/list", "/suggest", "/health"):
        answer = api.request(
            "GET", path, content=b"{", headers={"content-type": "application/json"}
        )
        assert answer.status_code == 200


def test_the_pages_of_the_documentation_are_read_only(api: TestClient) -> None:
    for path in ("/docs", "/openapi.json"):
        assert api.post(path).headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/product/1/2/3", "/search/", "/product/%2F", "/product/1%2F2"])
def test_what_is_no_address_is_not_found_by_any_method(api: TestClient, path: str) -> None:
    for method in ("GET", "PUT", "OPTIONS"):
        answer = api.request(method, path, follow_redirects=False)
        assert answer.status_code in (404, 307)
        assert "allow" not in answer.headers
