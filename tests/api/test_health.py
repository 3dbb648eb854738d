"""GET /health: which stores answer, which encoder, what waits."""

from __future__ import annotations

import threading
from typing import Any, NoReturn

import pytest
from fastapi.testclient import TestClient

from product_search.api import pulse
from product_search.errors import DatabaseUnavailable, VectorStoreUnavailable
from tests.api.helpers import code_of, create, resources
from tests.clock import until


def health(api: TestClient) -> tuple[int, dict[str, Any]]:
    answer = api.get("/health")
    return answer.status_code, answer.json()


def test_a_healthy_service_says_all_of_it(api: TestClient) -> None:
    create(api, wait=True)
    encoders = resources(api).encoders
    assert health(api) == (
        200,
        {
            "status": "ok",
            "reasons": [],
            "warnings": [],
            "database": "ok",
            "vector_store": "ok",
            "storage": "ok",
            "kafka": None,
            "encoders": {
                "name": "starter",
                "fingerprint": encoders.fingerprint,
                "device": "cpu",
                "hint": None,
            },
            "outbox": {"pending": 0, "retrying": 0, "failed": 0},
            "drift": None,
        },
    )


def test_every_vector_is_in_the_collection_of_its_encoder(api: TestClient) -> None:
    held = resources(api)
    assert held.collections.vector_database.has_collection(
        f"product_v2_{held.encoders.fingerprint}"
    )


def test_without_a_database_the_service_is_down(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> NoReturn:
        raise DatabaseUnavailable("数据库暂时不可用")

    monkeypatch.setattr(type(resources(api).database), "read", fail)
    monkeypatch.setattr(type(resources(api).database), "write", fail)
    status, body = health(api)
    assert (status, body["status"], body["database"]) == (503, "down", "down")
    assert "数据库：数据库暂时不可用" in body["reasons"]
    ready = api.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "down")
    assert api.get("/health/live").json() == {"status": "ok"}
    for answer in (
        api.get("/product/1"),
        api.get("/product/list"),
        api.post("/product", json={"title": "书包"}),
        api.patch("/product/1", json={"title": "书包"}),
        api.delete("/product/1"),
        api.post("/search", json={"mode": "text_to_text", "text": "书包"}),
    ):
        assert code_of(answer) == (503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0


def test_without_milvus_the_catalog_is_served_and_search_is_not(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_named: object) -> NoReturn:
        raise VectorStoreUnavailable("向量库暂时不可用")

    for name in ("ping", "search_all"):
        monkeypatch.setattr(type(resources(api).entities), name, fail)
    status, body = health(api)
    assert (status, body["status"], body["vector_store"]) == (200, "degraded", "down")
    assert "向量库：向量库暂时不可用" in body["reasons"]
    assert api.get("/health/ready").json() == {"status": "ok", "reasons": []}
    assert api.get("/product/list").status_code == 200
    answer = api.post("/search", json={"mode": "text_to_text", "text": "书包"})
    assert code_of(answer) == (503, "vector_store_unavailable")


def test_a_database_that_hangs_is_told_soon_and_the_process_is_alive(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(pulse, "PATIENCE_S", 0.1)
    monkeypatch.setattr(type(resources(api).database), "ping", lambda _: answers.wait())
    try:
        status, body = health(api)
        assert (status, body["reasons"][0]) == (503, "数据库：没有响应")
        ready = {"status": "down", "reasons": ["数据库：没有响应"]}
        assert api.get("/health/ready").json() == ready
        assert api.get("/health/live").status_code == 200
    finally:
        answers.set()


def test_why_indexing_stops_is_told(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> NoReturn:
        raise VectorStoreUnavailable("向量库所在的磁盘已满")

    with monkeypatch.context() as patched:
        patched.setattr(type(resources(api).entities), "upsert", fail)
        create(api)
        reason = "建立索引：向量库所在的磁盘已满"
        until(lambda: reason in health(api)[1]["reasons"], "the failure")
        assert health(api)[1]["status"] == "degraded"
    until(lambda: health(api)[1]["status"] == "ok", "the return")


def test_an_unknown_error_is_answered_without_its_insides(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> NoReturn:
        raise RuntimeError("secret insides")

    monkeypatch.setattr(type(resources(api).catalog), "get", fail)
    answer = api.get("/product/1")
    assert code_of(answer) == (500, "internal_error")
    assert "secret" not in answer.text
