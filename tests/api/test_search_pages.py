"""Pages of a search: put together they are the whole answer, whoever writes meanwhile."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.api import paging
from tests.api.helpers import code_of, create, create_all, ids, resources

ALL = 40
SHARED = "一模一样的袜子"  # so many that scores are equal


@pytest.fixture(scope="module", autouse=True)
def catalog(api: TestClient) -> list[dict[str, Any]]:
    rows = [
        {"title": SHARED if number % 2 else f"{SHARED} {number} 双装", "price": number // 4}
        for number in range(ALL)
    ]
    return create_all(api, rows)


ask = partial(paging.ask, text=SHARED)
by_offset = partial(paging.by_offset, text=SHARED)
by_cursor = partial(paging.by_cursor, text=SHARED)


MODES = st.sampled_from(["hybrid", "text_to_text"])
SORTS = st.sampled_from(["relevance", "price_asc", "price_desc", "newest"])


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(step=st.integers(1, 50), mode=MODES, sort=SORTS)
def test_pages_put_together_are_the_whole(api: TestClient, step: int, mode: str, sort: str) -> None:
    whole = ask(api, top_k=100, mode=mode, sort=sort)
    expected = ids(whole["hits"])
    assert len(expected) == len(set(expected)) == ALL == whole["total"]
    assert whole["total_is_exact"]
    assert whole["next_cursor"] is None
    assert by_offset(api, step, mode=mode, sort=sort) == expected
    assert by_cursor(api, step, mode=mode, sort=sort) == expected


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(low=st.integers(0, 10), high=st.integers(0, 10), has_image=st.booleans() | st.none())
def test_a_filter_never_lets_a_wrong_product_through(
    api: TestClient, low: int, high: int, has_image: bool | None
) -> None:
    prices = {"gte": min(low, high), "lte": max(low, high)}
    filters = {"price": prices} | ({} if has_image is None else {"has_image": has_image})
    body = ask(api, top_k=100, filters=filters)
    every = ask(api, top_k=100)["hits"]
    expected = {
        hit["product"]["product_id"]
        for hit in every
        if prices["gte"] <= float(hit["product"]["price"]) <= prices["lte"] and not has_image
    }
    assert set(ids(body["hits"])) == expected


@pytest.mark.parametrize("mode", ["hybrid", "text_to_text"])
def test_writes_between_pages_repeat_nothing_and_hide_nothing(api: TestClient, mode: str) -> None:
    before = set(ids(ask(api, top_k=100, mode=mode)["hits"]))
    body = ask(api, top_k=7, mode=mode)
    found = ids(body["hits"])
    made = []
    while body["next_cursor"]:
        made.append(create(api, wait=True, title=SHARED)["product_id"])  # among the first
        body = ask(api, top_k=7, mode=mode, cursor=body["next_cursor"])
        found += ids(body["hits"])
    assert len(found) == len(set(found))
    assert before <= set(found)
    for product_id in made:
        assert api.delete(f"/product/{product_id}").status_code == 204


def test_a_cursor_goes_on_after_an_offset(api: TestClient) -> None:
    whole = ids(ask(api, top_k=20)["hits"])
    first = ask(api, top_k=4, offset=3)
    more = ask(api, top_k=6, cursor=first["next_cursor"], mode="hybrid")
    assert ids(first["hits"]) + ids(more["hits"]) == whole[3:13]
    assert more["hits"][0]["rank"] == 8


def test_a_cursor_is_of_one_search(api: TestClient) -> None:
    cursor = ask(api, top_k=3)["next_cursor"]
    fields = {"text": SHARED, "min_confidence": 0, "cursor": cursor}
    assert api.post("/search", json=fields | {"top_k": 5}).status_code == 200
    for change in ({"text": "袜子"}, {"min_confidence": 0.1}, {"filters": {"brand": "x"}}):
        answer = api.post("/search", json=fields | change)
        assert code_of(answer) == (422, "cursor_invalid")


@pytest.mark.parametrize("cursor", ["x", "0" * 64, "%00", "光标", "A" * 150_000])
def test_a_forged_cursor_is_refused(api: TestClient, cursor: str) -> None:
    answer = api.post("/search", json={"text": SHARED, "cursor": cursor})
    assert code_of(answer) == (422, "cursor_invalid")


def test_a_cursor_of_another_collection_is_stale(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = ask(api, top_k=3)["next_cursor"]
    active = resources(api).collections.active()
    monkeypatch.setattr(type(active), "name", "product_v2_another")
    answer = api.post("/search", json={"text": SHARED, "min_confidence": 0, "cursor": cursor})
    assert code_of(answer) == (409, "cursor_stale")


def test_a_total_that_is_cut_short_says_so(api: TestClient) -> None:
    body = ask(api, mode="text_to_text", top_k=1)
    assert (body["total"], body["total_is_exact"]) == (ALL, True)
    assert body["next_cursor"]
