"""Searches of a catalog that has nothing yet."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import base64_of
from tests.unit.pictures import encoded, noise

IMAGE = base64_of(encoded(noise((30, 30), 1), "PNG"))


@pytest.mark.parametrize(
    "query",
    [
        {"text": "雨伞"},
        {"text": "lanya erji"},
        {"mode": "text_to_text", "text": "雨伞"},
        {"image_base64": IMAGE},
        {"text": "红色", "image_base64": IMAGE},
    ],
    ids=["text", "pinyin", "one leg", "picture", "composed"],
)
def test_an_empty_catalog_has_no_match(api: TestClient, query: dict[str, str]) -> None:
    answer = api.post("/search", json=query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["hits"], body["no_match"], body["total"]) == ([], True, 0)
    assert api.get("/health").json()["status"] == "ok"
