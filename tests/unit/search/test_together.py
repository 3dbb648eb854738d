"""Searches that run together: each gets what it needs, and an error of one is its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data_models import Leg, SearchFilters, SearchMode, SearchRequest, VectorField
from product_search.errors import NotCalibrated, VectorStoreUnavailable
from product_search.milvus.hits import Hits
from product_search.milvus.searches import EntitySearch, TermSearch
from product_search.search.inputs import Query, QueryInputs, Stopwatch, Weighted
from product_search.search.plan import Plan
from product_search.search.together import (
    Steps,
    embedded,
    looked_up,
    run_alone,
    run_together,
)
from product_search.settings import Settings
from product_search.text.query import analyse
from product_search.text.synonyms import Synonyms


class Store:
    """Entities whose hits are as many as a search's limit; it counts its calls."""

    refused = 13

    def __init__(self) -> None:
        self.calls: list[int] = []

    def search_all(self, searches: list[EntitySearch]) -> list[Hits]:
        self.calls.append(len(searches))
        if any(search.limit == self.refused for search in searches):
            raise VectorStoreUnavailable("没有")
        return [hits(search.limit) for search in searches]


class Encoders:
    """For each text the vector (its number of characters, 1); it keeps its calls."""

    broken = "坏"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def embed_search(self, queries: list[str], texts: list[str], images: object) -> Any:
        self.calls.append([*queries])
        if self.broken in queries:
            raise RuntimeError("secret insides")
        vectors = {text: np.array([len(text), 1], np.float32) for text in queries}
        return SimpleNamespace(queries=vectors, texts={}, images={})


def hits(count: int) -> Hits:
    field = VectorField.text_bm25
    return Hits(field, np.arange(count), np.ones(count), [""] * count)


def lookup(limit: int) -> TermSearch:
    return TermSearch("包", limit, SearchFilters())


def planned(text: str) -> Plan:
    request = SearchRequest(mode=SearchMode.text_to_text, text=text)
    inputs = QueryInputs(
        [Weighted(analyse(text, Synonyms(Settings(_env_file=None).synonyms_path)))]
    )
    return Plan(Query(request, inputs, Stopwatch()), {Leg.text_to_text: 1.0})


@pytest.fixture
def collection() -> Any:
    return SimpleNamespace(entities=Store(), encoders=Encoders())


def counting(*limits: int) -> Steps[list[int]]:
    found = []
    for limit in limits:
        both = yield from looked_up([lookup(limit), lookup(limit + 1)], Stopwatch())
        found += [len(one) for one in both]
    return found


def embedding(text: str) -> Steps[float]:
    plan = planned(text)
    vectors = yield from embedded(plan)
    yield from looked_up([lookup(1)], plan.query.watch)
    assert {"encode", "recall"} <= set(plan.query.watch.stages)
    first, second = vectors[Leg.text_to_text]
    return float(first / second)


def failing(error: Exception, *limits: int) -> Steps[list[int]]:
    yield from counting(*limits)
    raise error


def at_once() -> Steps[list[int]]:
    return []
    yield


def test_each_gets_its_own_hits_and_what_is_needed_at_once_is_one_call(collection: Any) -> None:
    answers = run_together(collection, [counting(1, 5), counting(), counting(7), at_once()])
    assert answers == [[1, 2, 5, 6], [], [7, 8], []]
    assert collection.entities.calls == [4, 2]


def test_texts_are_embedded_together(collection: Any) -> None:
    answers = run_together(collection, [embedding("书包"), embedding("大书包"), counting(3)])
    assert answers == [2.0, 3.0, [3, 4]]
    assert [sorted(call) for call in collection.encoders.calls] == [["书包", "大书包"]]


@pytest.mark.parametrize("error", [NotCalibrated("没有校准"), RuntimeError("secret insides")])
def test_an_error_of_one_is_its_answer(collection: Any, error: Exception) -> None:
    answers = run_together(collection, [counting(1), failing(error, 2), failing(error)])
    assert answers == [[1, 2], error, error]
    with pytest.raises(type(error)):
        run_alone(collection, failing(error, 2))
    assert run_alone(collection, counting(4)) == [4, 5]


def test_a_text_or_a_search_that_fails_fails_alone(collection: Any) -> None:
    some = [embedding("书包"), embedding(Encoders.broken), embedding("大书包"), counting(1)]
    first, broken, third, fourth = run_together(collection, some)
    assert (first, third, fourth) == (2.0, 3.0, [1, 2])
    assert isinstance(broken, RuntimeError)
    first, refused = run_together(collection, [counting(3), counting(Store.refused)])
    assert (first, isinstance(refused, VectorStoreUnavailable)) == ([3, 4], True)


def test_a_store_that_answers_nobody_is_down(collection: Any) -> None:
    with pytest.raises(VectorStoreUnavailable):
        run_together(collection, [counting(Store.refused), counting(Store.refused)])
