"""Searches that share a call of Milvus: one that Milvus refuses fails alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from product_search.errors import VectorStoreUnavailable
from product_search.milvus.collection import MilvusCollection
from product_search.milvus.hits import Hit
from product_search.milvus.searches import (
    CallKind,
    EntitySearch,
    Found,
    FoundHits,
    SearchQueue,
    TermSearch,
    VectorSearch,
    hits_or_raise,
)
from tests.clock import DEADLINE_S, until
from tests.contract.entities import ALL, BGE, DIM, DIMS, entity, unit
from vector_db import MilvusDatabase


class HeldCalls:
    """Calls of a real collection, the first of which waits until it is let go."""

    def __init__(self, entities: MilvusCollection) -> None:
        self.sizes: list[int] = []
        self._entities = entities
        self._let_go = threading.Event()

    def __call__(self, kind: CallKind, data: Sequence[list[float] | str]) -> Sequence[FoundHits]:
        """Search for the data once it may."""
        self.sizes.append(len(data))
        assert self._let_go.wait(DEADLINE_S)
        return self._entities._search(kind, data)

    def let_go(self) -> None:
        self._let_go.set()


@pytest.fixture
def entities(tmp_path: Path) -> Iterator[MilvusCollection]:
    """A collection of three entities."""
    vector_database = MilvusDatabase(tmp_path / "milvus.db", "a")
    entities = vector_database.ensure_collection("product_v1_0123456789ab", DIMS)
    entities.upsert([entity(place, unit(place), search_text="书包") for place in (1, 2, 3)])
    yield entities
    vector_database.close()


GOOD: list[EntitySearch] = [VectorSearch(BGE, unit(place), 1, ALL) for place in (1, 2, 3)]
BAD: dict[str, tuple[list[EntitySearch], EntitySearch]] = {
    "a vector of another length": (GOOD, VectorSearch(BGE, unit(0, DIM + 1), 1, ALL)),
    "half a character": ([TermSearch("书包", 1, ALL)] * 3, TermSearch("书\ud800", 1, ALL)),
}


def hits_of(found: list[Found]) -> list[Hit]:
    """The hits of the first search."""
    return list(hits_or_raise(found[0]))


@pytest.mark.parametrize(("good", "bad"), BAD.values(), ids=list(BAD))
def test_a_search_that_milvus_refuses_fails_alone(
    entities: MilvusCollection, good: list[EntitySearch], bad: EntitySearch
) -> None:
    calls = HeldCalls(entities)
    searches = SearchQueue("test", calls, 1)
    with ThreadPoolExecutor(5) as callers:

        def submit(search: EntitySearch) -> Future[list[Found]]:
            return callers.submit(searches.run, [search])

        first = submit(good[0])
        until(lambda: calls.sizes, "the first call")
        others = [submit(search) for search in (*good[1:], bad, good[0])]
        until(lambda: len(searches._batcher._foreground) == len(others), "the others")
        calls.let_go()
        *found, refused = [others[0], others[1], others[3], others[2]]
        assert isinstance(refused.result()[0], VectorStoreUnavailable)
        expected = entities.search_all([good[1], good[2], good[0]])
        assert [hits_of(one.result()) for one in found] == [hits_of([hits]) for hits in expected]
        assert hits_of(first.result()) == hits_of(entities.search_all(good[:1]))
    assert calls.sizes == [1, 4, 1, 1, 1, 1]


def test_a_search_that_waits_for_long_behind_others_does_not_wait_for_its_own_call_too(
    entities: MilvusCollection,
) -> None:
    calls = HeldCalls(entities)
    searches = SearchQueue("test", calls, 1)
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(searches.run, GOOD[:1])
        until(lambda: calls.sizes, "the first call")
        late = callers.submit(searches.run, GOOD[1:2])
        until(lambda: searches._batcher._foreground, "the second search")
        searches._batcher._foreground[0].patience_s = 0.0
        calls.let_go()
        assert isinstance(late.result()[0], VectorStoreUnavailable)
        assert [hit.milvus_id for hit in hits_of(first.result())] == [1]
    assert calls.sizes == [1]


def test_vectors_that_are_not_finite_find_nothing_and_the_others_of_their_call_all(
    entities: MilvusCollection,
) -> None:
    nothing = [np.full(DIM, value, np.float32) for value in (np.nan, np.inf)]
    bad = [VectorSearch(BGE, vector, 1, ALL) for vector in nothing]
    found = entities.search_all([GOOD[0], *bad, *GOOD[1:]])
    assert [[hit.milvus_id for hit in hits_of([one])] for one in found] == [[1], [], [], [2], [3]]
