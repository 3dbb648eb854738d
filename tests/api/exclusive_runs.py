"""Runs over the whole catalog as the API starts and shows them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import listed
from tests.clock import until


@pytest.fixture
def shop(api: TestClient) -> TestClient:
    """The service without any product."""
    while items := listed(api, page_size=100)["items"]:
        for item in items:
            api.delete(f"/product/{item['product_id']}")
    return api


def run_to_end(api: TestClient, path: str, shown_at: str | None = None) -> dict[str, Any]:
    """The page that shows the run which this path starts, once it has come to its end."""
    answer = api.post(path)
    assert answer.status_code == 202, answer.text
    run_id = answer.json()["run_id"]

    def page() -> dict[str, Any]:
        shown = api.get(shown_at or path)
        assert shown.status_code == 200, shown.text
        return cast(dict[str, Any], shown.json())

    until(lambda: (page()["last"] or {}).get("run_id") == run_id, f"the end of {path}")
    return page()
