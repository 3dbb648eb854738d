"""Searches that run together: what each needs next is fetched for all of them at once.

A search is a generator. It yields what it needs, vectors of texts and images or what a collection
finds, and is sent it; what it returns is its answer. So one thread takes many searches forward,
with one batch for the encoders and one call for the store, where a thread for each would spend
most of its time on handing over the interpreter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from product_search.batching import RETRY_WITHIN_S
from product_search.errors import Overloaded, VectorStoreUnavailable
from product_search.indexing.collections import OpenCollection
from product_search.milvus.hits import Hits
from product_search.milvus.searches import EntitySearch
from product_search.search.inputs import Stopwatch
from product_search.search.plan import LegVectors, Plan, embed

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Embedding:
    """The need for the vectors of a plan's dense legs; what is sent are LegVectors."""

    plan: Plan


@dataclass(frozen=True, eq=False)
class Lookup:
    """The need for the hits of some searches of the collection; what is sent are their Hits."""

    searches: Sequence[EntitySearch]
    watch: Stopwatch


Need = Embedding | Lookup
Steps = Generator[Need, Any, T]


def embedded(plan: Plan) -> Steps[LegVectors]:
    """Return the vectors of a plan, from within a search."""
    vectors: LegVectors = yield Embedding(plan)
    return vectors


def looked_up(searches: Sequence[EntitySearch], watch: Stopwatch) -> Steps[list[Hits]]:
    """Return the hits of some searches of the collection, from within a search."""
    hits: list[Hits] = yield Lookup(searches, watch)
    return hits


@dataclass
class _Running(Generic[T]):
    """A search that runs: what it needs, until it has an answer or an error of its own."""

    steps: Steps[T]
    need: Need | None = None
    answer: T | Exception | None = None

    def go_on(self, sent: object = None) -> None:
        """Run until the next need or the answer."""
        try:
            self.need = self.steps.send(sent)
        except StopIteration as end:
            self.need, self.answer = None, end.value
        except Exception as error:  # noqa: BLE001 - whatever it is, the other searches go on
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """End with this error."""
        self.need, self.answer = None, error


def run_together(collection: OpenCollection, searches: Sequence[Steps[T]]) -> list[T | Exception]:
    """Return the answer of each search, or its error.

    Raises:
        VectorStoreUnavailable: the vector store did not answer to any of them.
    """
    running = [_Running(steps) for steps in searches]
    for one in running:
        one.go_on()
    while any(one.need for one in running):
        for kind, fetch in ((Embedding, _embed), (Lookup, _look_up)):
            waiting = [one for one in running if isinstance(one.need, kind)]
            if waiting:
                _fetch(waiting, collection, fetch)
    answers = [one.answer for one in running]
    failed = [one for one in answers if isinstance(one, VectorStoreUnavailable)]
    if failed and len(failed) == len(answers):
        raise failed[0]
    return answers  # type: ignore[return-value] # all have ended


def run_alone(collection: OpenCollection, steps: Steps[T]) -> T:
    """Return the answer of one search. Raises its error."""
    (answer,) = run_together(collection, [steps])
    if isinstance(answer, Exception):
        raise answer
    return answer


_Fetch = Callable[[Sequence[_Running[T]], OpenCollection], None]


def _fetch(waiting: Sequence[_Running[T]], collection: OpenCollection, fetch: _Fetch[T]) -> None:
    """Fetch what these need, and let each go on; where that fails, fetch for each alone."""
    begun = time.perf_counter()
    try:
        fetch(waiting, collection)
    except Exception as error:  # noqa: BLE001 - whatever it is, those who need it get it
        is_of_all = isinstance(error, Overloaded) or time.perf_counter() - begun > RETRY_WITHIN_S
        for one in waiting:
            if is_of_all or len(waiting) == 1:
                one.fail(error)
            else:
                _fetch([one], collection, fetch)


def _embed(waiting: Sequence[_Running[T]], collection: OpenCollection) -> None:
    plans = [one.need.plan for one in waiting if isinstance(one.need, Embedding)]
    spent = Stopwatch()
    with spent.stage("encode"):
        vectors = embed(collection.encoders, plans)
    _resume(waiting, [plan.query.watch for plan in plans], spent, vectors)


def _look_up(waiting: Sequence[_Running[T]], collection: OpenCollection) -> None:
    needs = [one.need for one in waiting if isinstance(one.need, Lookup)]
    spent = Stopwatch()
    with spent.stage("recall"):
        searches = [search for need in needs for search in need.searches]
        found = iter(collection.entities.search_all(searches))
    hits = [[next(found) for _ in need.searches] for need in needs]
    _resume(waiting, [need.watch for need in needs], spent, hits)


def _resume(
    waiting: Sequence[_Running[T]],
    watches: Sequence[Stopwatch],
    spent: Stopwatch,
    sent: Sequence[object],
) -> None:
    """Let each go on with what it needed; it has waited for those before it."""
    begun = time.perf_counter()
    for one, watch, what in zip(waiting, watches, sent, strict=True):
        watch.add(spent.stages)
        watch.add({"wait": 1000 * (time.perf_counter() - begun)})
        one.go_on(what)
