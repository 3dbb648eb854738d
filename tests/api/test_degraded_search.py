"""A search while Milvus is away, wholly or in part: what is left answers, and says what is not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.errors import VectorStoreUnavailable
from product_search.milvus import collection, connection
from product_search.milvus.collection import MilvusCollection
from product_search.milvus.searches import CallKind, FoundHits
from product_search.schemas.search import VectorField
from product_search.search.calibration import Calibration, Curve
from product_search.settings import Settings
from tests.api.helpers import Answer, code_of, create_all, resources
from tests.clock import until

FIELDS = tuple(VectorField)
TEXT_LEGS = ["bm25", "text_to_image", "text_to_text"]


@pytest.fixture(scope="module")
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service with some products."""
    with TestClient(create_app(open_settings()), raise_server_exceptions=False) as client:
        rows = [("红色双肩包", "BAG-1", "59.00"), ("保温杯", "CUP-1", "19.90")]
        create_all(client, [{"title": t, "sku": s, "price": p} for t, s, p in rows])
        yield client


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make Milvus fail to search these of its fields."""

    def make(*fields: VectorField) -> None:
        search = MilvusCollection._search_once

        def search_partly(
            self: MilvusCollection, kind: CallKind, data: Sequence[list[float] | str]
        ) -> Sequence[FoundHits]:
            if kind.field in fields:
                raise VectorStoreUnavailable(VectorStoreUnavailable.example)
            return search(self, kind, data)

        monkeypatch.setattr(MilvusCollection, "_search_once", search_partly)

    return make


def ask(api: TestClient, **query: Any) -> Answer:
    return api.post("/search", json=query)


def skus(answer: Answer) -> list[str]:
    assert answer.status_code == 200, answer.json()
    return [hit["product"]["sku"] for hit in answer.json()["hits"]]


def test_an_answer_of_all_legs_says_nothing_of_it(api: TestClient) -> None:
    answer = ask(api, text="红色双肩包")
    assert skus(answer)[0] == "BAG-1"
    assert "degraded" not in answer.json()


@pytest.mark.parametrize(
    ("field", "leg"),
    [
        (VectorField.text_bm25, "bm25"),
        (VectorField.text_bge, "text_to_text"),
        (VectorField.image_clip, "text_to_image"),
    ],
)
def test_the_legs_that_are_left_answer_and_the_one_that_failed_is_told(
    api: TestClient, fail: Callable[..., None], field: VectorField, leg: str
) -> None:
    fail(field)
    answer = ask(api, text="红色双肩包", explain=True)
    assert skus(answer)[0] == "BAG-1"
    told = answer.json()
    assert (told["degraded"], told["total_is_exact"]) == ([leg], False)
    legs = {one["leg"] for hit in told["hits"] for one in hit["explain"]["legs"]}
    assert leg not in legs


def test_a_leg_that_is_left_but_had_nothing_to_look_for_is_no_answer(
    api: TestClient, fail: Callable[..., None]
) -> None:
    fail(VectorField.text_bm25)
    answer = ask(api, text="红色双肩包", legs={"text_to_text": 0, "text_to_image": 0})
    assert code_of(answer) == (503, "vector_store_unavailable")


def test_a_confidence_that_is_asked_for_is_not_left_out(
    api: TestClient, fail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    curve = Calibration.curve

    def of_all_legs(self: Calibration, legs: Iterable[str]) -> Curve | None:
        return curve(self, legs) if set(legs) == set(TEXT_LEGS) else None

    monkeypatch.setattr(Calibration, "curve", of_all_legs)
    fail(VectorField.text_bge)
    assert ask(api, text="红色双肩包").json()["hits"][0]["confidence"] is None
    answer = ask(api, text="红色双肩包", min_confidence=0.5)
    assert code_of(answer) == (503, "vector_store_unavailable")


def test_that_nothing_fits_is_not_said_of_a_part(
    api: TestClient, fail: Callable[..., None]
) -> None:
    fail(VectorField.text_bm25, VectorField.text_bge)  # no product has a picture
    answer = ask(api, text="红色双肩包")
    assert code_of(answer) == (503, "vector_store_unavailable")


@pytest.mark.parametrize("mode", ["text_to_text", "text_to_image"])
def test_a_single_leg_that_fails_leaves_no_answer(
    api: TestClient, fail: Callable[..., None], mode: str
) -> None:
    fail(*FIELDS)
    answer = ask(api, mode=mode, text="BAG-1")
    assert code_of(answer) == (503, "vector_store_unavailable")


def test_without_milvus_a_sku_is_found_and_no_more_is_claimed(
    api: TestClient, fail: Callable[..., None]
) -> None:
    fail(*FIELDS)
    answer = ask(api, text=" BAG-1 ")
    assert skus(answer) == ["BAG-1"]
    told = answer.json()
    assert (told["degraded"], told["total_is_exact"]) == (TEXT_LEGS, False)
    assert (told["hits"][0]["confidence"], told["next_cursor"]) == (None, None)
    for query in (
        {"text": "红色双肩包"},
        {"text": "BAG"},
        {"text": "BAG-1", "offset": 1},
        {"text": "BAG-1", "filters": {"price": {"gte": 100}}},
        {"parts": [{"text": "BAG-1"}, {"text": "红色"}]},
    ):
        assert code_of(ask(api, **query)) == (503, "vector_store_unavailable")


def test_price_words_alone_need_no_milvus(api: TestClient, fail: Callable[..., None]) -> None:
    fail(*FIELDS)
    answer = ask(api, text="30元以内")
    assert skus(answer) == ["CUP-1"]
    assert "degraded" not in answer.json()


def test_after_a_search_that_milvus_does_not_answer_the_others_fail_at_once(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "SEARCH_TIMEOUT_S", 1.0)
    monkeypatch.setattr(connection, "REACH_TIMEOUT_S", 1.0)
    held = resources(api).collections.vector_database.connection  # type: ignore[attr-defined]
    calls: list[str] = []
    client, _ = held.client()
    search = client.search

    def counted(*arguments: object, **named: object) -> object:
        calls.append("search")
        return search(*arguments, **named)

    monkeypatch.setattr(client, "search", counted)
    pid = held._source._server._p.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        assert code_of(ask(api, text="红色双肩包"))[0] == 503
        waited = len(calls)
        assert waited
        for _ in range(5):
            assert code_of(ask(api, text="红色双肩包")) == (503, "vector_store_unavailable")
        assert len(calls) == waited
        health = api.get("/health").json()
        assert (health["status"], health["vector_store"]) == ("degraded", "down")
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: ask(api, text="红色双肩包").status_code == 200, "Milvus's return")
