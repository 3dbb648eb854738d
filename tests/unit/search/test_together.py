"""Searches that run together: each gets what it needs, and an error of one is its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data_models import Leg, SearchFilters, SearchMode, SearchRequest, VectorField
from product_search.catalog.rows import BoundProduct, BoundProducts
from product_search.errors import NotCalibrated, VectorStoreUnavailable
from product_search.milvus.hits import Hits
from product_search.milvus.searches import EntitySearch, TermSearch
from product_search.search.inputs import Query, QueryInputs, Stopwatch, Weighted
from product_search.search.plan import Plan
from product_search.search.together import (
    Binding,
    Steps,
    Stores,
    bound,
    embedded,
    looked_up,
    run_alone,
    run_together,
)
from product_search.settings import Settings
from product_search.text.query import analyse
from product_search.text.synonyms import Synonyms

NO_FILTERS = SearchFilters()


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


class Rows:
    """Products whose ids are a tenth of their entities' keys; it counts its reads."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def read(self, query: Any, keys: list[int], conditions: list[Any], choose: Any) -> Any:
        self.calls.append(len(keys))
        found = {key: BoundProduct(key // 10, None) for key in keys}
        return BoundProducts(found, {one: f"商品 {one}" for one in choose(found)})  # type: ignore[misc]


class Encoders:
    """For each text the vector (its number of characters, 1); it keeps its calls."""

    broken = "坏"
    known = "早就问过"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def knows_search(self, queries: list[str], texts: list[str], images: object) -> bool:
        return {*queries} == {self.known}

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
def stores() -> Any:
    return Stores(Rows(), SimpleNamespace(entities=Store(), encoders=Encoders()))  # type: ignore[arg-type]


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


def binding(*keys: int, choice: int = 0, filters: SearchFilters = NO_FILTERS) -> Steps[Any]:
    """Bind the keys, and return the ids of these and the row of one of them."""

    def choose(found: Mapping[int, BoundProduct]) -> list[int]:
        return [found[keys[choice]].id]

    found = yield from bound(Binding(keys, filters, False, choose, Stopwatch()))
    chosen = found.products[keys[choice]].id
    return [found.products[key].id for key in keys], found.rows[chosen]


def failing(error: Exception, *limits: int) -> Steps[list[int]]:
    yield from counting(*limits)
    raise error


def at_once() -> Steps[list[int]]:
    return []
    yield


def test_each_gets_its_own_hits_and_what_is_needed_at_once_is_one_call(stores: Any) -> None:
    answers = run_together(stores, [counting(1, 5), counting(), counting(7), at_once()])
    assert answers == [[1, 2, 5, 6], [], [7, 8], []]
    assert stores.collection.entities.calls == [4, 2]


def test_texts_are_embedded_together(stores: Any) -> None:
    answers = run_together(stores, [embedding("书包"), embedding("大书包"), counting(3)])
    assert answers == [2.0, 3.0, [3, 4]]
    assert [sorted(call) for call in stores.collection.encoders.calls] == [["书包", "大书包"]]


def test_what_was_embedded_before_has_no_part_in_the_encoders_time(stores: Any) -> None:
    some = [embedding("书包"), embedding(Encoders.known), embedding("大书包")]
    assert run_together(stores, some) == [2.0, 4.0, 3.0]
    calls = [sorted(call) for call in stores.collection.encoders.calls]
    assert sorted(calls) == sorted([[Encoders.known], ["书包", "大书包"]])
    assert stores.collection.entities.calls == [3]


@pytest.mark.parametrize("error", [NotCalibrated("没有校准"), RuntimeError("secret insides")])
def test_an_error_of_one_is_its_answer(stores: Any, error: Exception) -> None:
    answers = run_together(stores, [counting(1), failing(error, 2), failing(error)])
    assert answers == [[1, 2], error, error]
    with pytest.raises(type(error)):
        run_alone(stores, failing(error, 2))
    assert run_alone(stores, counting(4)) == [4, 5]


def test_a_text_or_a_search_that_fails_fails_alone(stores: Any) -> None:
    some = [embedding("书包"), embedding(Encoders.broken), embedding("大书包"), counting(1)]
    first, broken, third, fourth = run_together(stores, some)
    assert (first, third, fourth) == (2.0, 3.0, [1, 2])
    assert isinstance(broken, RuntimeError)
    first, refused = run_together(stores, [counting(3), counting(Store.refused)])
    assert (first, isinstance(refused, VectorStoreUnavailable)) == ([3, 4], True)


def test_a_store_that_answers_nobody_is_down(stores: Any) -> None:
    with pytest.raises(VectorStoreUnavailable):
        run_together(stores, [counting(Store.refused), counting(Store.refused)])


def test_products_are_read_together_where_the_filters_are_the_same(stores: Any) -> None:
    filters = SearchFilters(brand="远行")
    some = [binding(10, 20), binding(20, 30, choice=1), binding(40, filters=filters), binding(50)]
    assert run_together(stores, some) == [
        ([1, 2], "商品 1"),
        ([2, 3], "商品 3"),
        ([4], "商品 4"),
        ([5], "商品 5"),
    ]
    assert sorted(stores.database.calls) == [1, 4]


def test_many_products_are_read_for_themselves(stores: Any) -> None:
    many = range(10, 20_000, 10)
    first, second, _ = run_together(stores, [binding(10), binding(*many), binding(20)])
    assert first == ([1], "商品 1")
    assert second == ([*range(1, 2000)], "商品 1")
    assert sorted(stores.database.calls) == [2, 1999]


def test_a_choice_that_fails_fails_alone(stores: Any) -> None:
    first, broken, third = run_together(stores, [binding(10), binding(20, choice=9), binding(30)])
    assert (first, third) == (([1], "商品 1"), ([3], "商品 3"))
    assert isinstance(broken, IndexError)
