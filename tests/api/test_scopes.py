"""Every route has its scope in the one table, whether it is documented, mounted or neither."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts

from main import create_app
from product_search.access.scopes import PUBLISHABLE, SCOPES, SIGNED
from product_search.api.operations import Operations

APP = create_app()
ROUTES = list(iter_route_contexts(APP.routes))
DOCUMENTED = [
    (method.upper(), path, operation["operationId"])
    for path, operations in APP.openapi()["paths"].items()
    for method, operation in operations.items()
]


def test_every_route_has_a_scope_and_every_scope_a_route() -> None:
    names = [route.name for route in ROUTES]
    assert set(names) == set(SCOPES)
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert set(SCOPES) >= PUBLISHABLE | SIGNED


def asked(method: str, path: str, root_path: str = "") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": root_path + path, "root_path": root_path}


@pytest.mark.parametrize(("method", "path", "operation"), DOCUMENTED)
def test_a_request_is_the_operation_that_the_router_takes_it_for(
    method: str, path: str, operation: str
) -> None:
    filled = path.replace("{number}", "2").partition("{")
    address = filled[0] + ("12" + filled[2].partition("}")[2] if filled[1] else "")
    operations = Operations(APP.routes)
    assert operations.find(asked(method, address)) == operation
    assert operations.find(asked(method, address, "/behind/a/proxy")) == operation


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/openapi.json", "openapi"),
        ("GET", "/docs", "documentation"),
        ("DELETE", "/product/list", "delete_product"),  # for the router too
        ("GET", "/product/12/image/", None),
        ("POST", "/search/", None),
        ("GET", "/search", None),
        ("POST", "/SEARCH", None),
        ("GET", "//search", None),
        ("HEAD", "/product/12", None),
        ("PROPFIND", "/product/12", None),
        ("GET", "/", None),
    ],
)
def test_what_is_no_operation_is_taken_for_none(
    method: str, path: str, operation: str | None
) -> None:
    assert Operations(APP.routes).find(asked(method, path)) == operation
