"""How often a request waits for a worker thread: once, however busy the service is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock

import anyio.to_thread
import pytest
from fastapi.testclient import TestClient

from data_models import GenerationAccepted
from product_search.generation.generations import Generations
from tests.api.helpers import base64_of, create
from tests.unit.pictures import encoded, four_colours

PHOTO = base64_of(encoded(four_colours(), "PNG"))
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "create": ("/product", {"title": "书包"}),
    "search": ("/search", {"text": "书包"}),
    "batch": ("/search/batch", {"queries": [{"text": "书包"}, {}]}),
    "rerank": ("/rerank", {"text": "书包", "product_ids": [1]}),
    "match": ("/match", {"image": {"image_base64": PHOTO}, "texts": [{"text": "书包"}]}),
    "titles": ("/product/titles", {"image_base64": PHOTO}),
    "generate": ("/generate", {"prompt": "书包"}),
}


@pytest.mark.parametrize(("path", "body"), REQUESTS.values(), ids=list(REQUESTS))
def test_a_request_with_a_body_waits_for_one_thread(
    api: TestClient, path: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = GenerationAccepted(generation_id=1, status_url="/generate/1")
    monkeypatch.setattr(Generations, "enqueue", Mock(return_value=accepted))
    create(api, wait=True)
    run_sync, calls = anyio.to_thread.run_sync, []

    async def count(function: Any, *args: Any, **options: Any) -> Any:
        calls.append(function)
        return await run_sync(function, *args, **options)

    def submitted(pool: ThreadPoolExecutor, function: Any, *args: Any) -> Any:
        calls.append(function)
        return submit(pool, function, *args)

    submit = ThreadPoolExecutor.submit
    monkeypatch.setattr(anyio.to_thread, "run_sync", count)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", submitted)
    answer = api.post(path, json=body)
    assert answer.status_code in {200, 201, 202}, answer.text
    assert len(calls) == 1


REFUSALS: dict[str, tuple[str, str, int]] = {
    "an unknown address": ("GET", "/nowhere", 404),
    "a method": ("PUT", "/search", 405),
    "a number in the path": ("GET", "/product/x", 422),
    "a media type": ("POST", "/search", 415),
}


@pytest.mark.parametrize(("method", "path", "status"), REFUSALS.values(), ids=list(REFUSALS))
def test_what_is_refused_at_the_door_waits_for_no_thread(
    api: TestClient, method: str, path: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anyio.to_thread, "run_sync", Mock(side_effect=AssertionError))
    monkeypatch.setattr(ThreadPoolExecutor, "submit", Mock(side_effect=AssertionError))
    answer = api.request(method, path, content="text", headers={"content-type": "text/plain"})
    assert answer.status_code == status
    assert answer.json()["code"]
