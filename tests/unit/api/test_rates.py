"""Callers that ask for too much are told when they may again."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.testclient import TestClient

from product_search.api.doors.front import Doors
from product_search.api.doors.limits import RateLimits
from product_search.api.doors.rates import RateDoor
from tests.api.helpers import code_of


def small_app(limit: str | None) -> FastAPI:
    """Routes of the service's names behind this limit."""
    app, doors = FastAPI(), Doors()
    doors.limits = RateLimits(limit)
    app.add_middleware(RateDoor, doors=doors)

    @app.post("/search")
    async def search() -> None:
        """Find nothing."""

    @app.get("/health")
    async def health() -> None:
        """Be well."""

    return app


def test_a_caller_is_refused_and_told_for_how_long_and_others_are_not() -> None:
    app = small_app("20/hour")
    one, other = (TestClient(app, client=(address, 1)) for address in ("10.0.0.1", "10.0.0.2"))
    assert [one.post("/search").status_code for _ in range(3)] == [200, 200, 429]
    refused = one.post("/search")
    assert code_of(refused) == (429, "rate_limited")
    assert 3500 < int(refused.headers["retry-after"]) <= 3600
    assert one.get("/nowhere").status_code == 429
    assert one.get("/health").status_code == 200
    assert other.post("/search").status_code == 200


def test_nobody_is_refused_without_a_limit() -> None:
    client = TestClient(small_app(None))
    assert {client.post("/search").status_code for _ in range(100)} == {200}
