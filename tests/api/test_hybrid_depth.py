"""How deep a hybrid search looks: its pages are one answer, whatever their size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete

from orm_models import Product
from product_search.search.recall import HybridDepth
from tests.api import paging
from tests.api.helpers import create_all, ids, resources

FIRST = 8
TEXT = "蓝牙耳机"
SIZES = (1, 3, 7, 8, 100)
RED = range(0, 40, 3)


@pytest.fixture(scope="module", autouse=True)
def products(api: TestClient) -> list[int]:
    """Forty alike; each third one says that it is red."""
    rows = [
        {"title": f"{TEXT} {'红色 ' if number in RED else ''}{number} 号", "brand": f"{number % 2}"}
        for number in range(40)
    ]
    return [row["product_id"] for row in create_all(api, rows)]


@pytest.fixture(scope="module", autouse=True)
def depth() -> Iterator[None]:
    """Legs that are read so deep that most of the catalogue lies below."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HybridDepth, "FIRST", FIRST)
        patch.setattr(HybridDepth, "FURTHER", 64)
        yield


ask = partial(paging.ask, text=TEXT)
by_offset = partial(paging.by_offset, text=TEXT)
by_cursor = partial(paging.by_cursor, text=TEXT)


def whole(api: TestClient, **fields: Any) -> list[int]:
    """All products of the answer, which are the same in pages of every size."""
    expected = ids(ask(api, top_k=100, **fields)["hits"])
    assert len(expected) == len(set(expected))
    for size in SIZES:
        assert by_offset(api, size, **fields) == expected, size
        assert by_cursor(api, size, **fields) == expected, size
    return expected


def test_further_pages_go_on_where_the_first_ones_end(api: TestClient, products: list[int]) -> None:
    first = ask(api, top_k=7)
    assert (first["total"] < len(products), first["total_is_exact"]) == (True, False)
    found = whole(api)
    assert found[:7] == ids(first["hits"])
    assert sorted(found) == products


def test_ranks_are_those_in_the_whole_leg(api: TestClient) -> None:
    hits = ask(api, top_k=100, explain=True)["hits"]
    for name in ("bm25", "text_to_text"):
        legs = [leg for hit in hits for leg in hit["explain"]["legs"] if leg["leg"] == name]
        ranks = sorted(leg["rank"] for leg in legs)
        # An entity that another leg has among its first ones keeps no rank from further down.
        assert len(ranks) == len(set(ranks)) > FIRST
        by_rank = sorted(legs, key=lambda leg: leg["rank"])
        assert [leg["score"] for leg in by_rank] == sorted(
            (leg["score"] for leg in legs), reverse=True
        )
    assert min(leg["rank"] for leg in hits[-1]["explain"]["legs"]) > FIRST


def test_a_line_of_confidence_cuts_pages_of_every_size_alike(api: TestClient) -> None:
    confidences = sorted(hit["confidence"] for hit in ask(api, top_k=100)["hits"])
    for line in (confidences[3], confidences[20], confidences[-4]):
        assert whole(api, min_confidence=line)


def test_what_is_not_wanted_hides_nothing_below_it(api: TestClient, products: list[int]) -> None:
    text = f"红色{TEXT} 不要红色的"
    assert not ask(api, text=text, top_k=1)["no_match"]
    found = whole(api, text=text)
    assert sorted(found) == [one for number, one in enumerate(products) if number not in RED]


def test_a_page_with_facets_is_followed_by_the_rest(api: TestClient, products: list[int]) -> None:
    first = ask(api, top_k=5, facets=True)
    assert first["total"] == len(products)
    body, found = first, ids(first["hits"])
    while body["next_cursor"]:
        body = ask(api, top_k=5, cursor=body["next_cursor"])
        assert body["hits"]
        found += ids(body["hits"])
    assert sorted(found) == products


@pytest.mark.parametrize("fields", [{"top_k": 5}, {"top_k": 30}, {"top_k": 5, "facets": True}])
def test_without_filters_there_are_as_many_at_least(
    api: TestClient, fields: dict[str, Any]
) -> None:
    body = ask(api, filters={"brand": "1"}, explain=True, **fields)
    assert body["total_without_filters"] >= body["total"]


def test_rows_that_have_gone_hide_nothing_below_them(api: TestClient, products: list[int]) -> None:
    gone = ids(ask(api, top_k=2 * FIRST)["hits"])
    database = resources(api).database
    database.write(lambda session: session.execute(delete(Product).where(Product.id.in_(gone))))
    body = ask(api, top_k=1)
    assert (body["no_match"], len(body["hits"])) == (False, 1)
    assert sorted(whole(api)) == sorted(set(products).difference(gone))
