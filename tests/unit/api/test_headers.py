"""Answers to errors that nobody foresaw have the headers of all others."""

from __future__ import annotations

import pytest
from fastapi import Response
from fastapi.testclient import TestClient

from product_search.api import errors
from product_search.api.doors.front import FrontDoor, GuardedApp
from product_search.api.doors.origins import Origins
from tests.api.helpers import code_of

SHOP = "https://shop.example.com"


@pytest.fixture
def client() -> TestClient:
    """An application with a route that fails and one that has a policy of its own."""
    app = GuardedApp()
    app.doors.origins = Origins([SHOP])
    app.add_middleware(FrontDoor, doors=app.doors)
    errors.install(app)

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("secret")

    @app.get("/own")
    async def own() -> Response:
        return Response(headers={"Content-Security-Policy": "sandbox", "Vary": "Accept"})

    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def test_an_unknown_error_is_read_by_allowed_pages_and_framed_by_none(client: TestClient) -> None:
    answer = client.get("/fails", headers={"origin": SHOP})
    assert code_of(answer) == (500, "internal_error")
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert answer.headers["x-frame-options"] == "DENY"


def test_what_a_route_says_stays(client: TestClient) -> None:
    answer = client.get("/own")
    assert answer.headers.get_list("content-security-policy") == ["sandbox"]
    assert answer.headers.get_list("vary") == ["Accept", "Origin"]
