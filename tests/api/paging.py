"""Searches read page by page."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from tests.api.helpers import ids


def ask(api: TestClient, **fields: Any) -> dict[str, Any]:
    """The answer to a search that shows products of every confidence."""
    answer = api.post("/search", json={"min_confidence": 0} | fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def by_offset(api: TestClient, step: int, **fields: Any) -> list[int]:
    """The products of all pages, each asked for by its offset."""
    found: list[int] = []
    while page := ask(api, top_k=step, offset=len(found), **fields)["hits"]:
        assert [hit["rank"] for hit in page] == list(
            range(len(found) + 1, len(found) + len(page) + 1)
        )
        found += ids(page)
    return found


def by_cursor(api: TestClient, step: int, **fields: Any) -> list[int]:
    """The products of all pages, each asked for by the cursor of the page before."""
    body = ask(api, top_k=step, **fields)
    found = ids(body["hits"])
    while body["next_cursor"]:
        body = ask(api, top_k=step, cursor=body["next_cursor"], **fields)
        assert body["hits"][0]["rank"] == len(found) + 1
        found += ids(body["hits"])
    return found
