"""Searches that run together: what each needs next is fetched for all of them at once.

A search is a generator. It yields what it needs, vectors of texts and images or what a collection
finds, and is sent it; what it returns is its answer. So one thread takes many searches forward,
with one batch for the encoders and one call for the store, where a thread for each would spend
most of its time on handing over the interpreter.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from product_search.errors import AppError, DatabaseUnavailable, VectorStoreUnavailable
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
    """A search that runs: what it needs, until it has an answer."""

    steps: Steps[T]
    need: Need | None = None
    answer: T | AppError | None = None

    def go_on(self, sent: object = None) -> None:
        """Run until the next need or the answer."""
        try:
            self.need = self.steps.send(sent)
        except StopIteration as end:
            self.need, self.answer = None, end.value
        except (DatabaseUnavailable, VectorStoreUnavailable):
            raise  # every search has it
        except AppError as error:
            self.need, self.answer = None, error


def run_together(collection: OpenCollection, searches: Sequence[Steps[T]]) -> list[T | AppError]:
    """Return the answer of each search, or the error that is its own.

    Raises:
        DatabaseUnavailable, VectorStoreUnavailable: a store is down.
        Overloaded: too many searches wait.
        ClientGone: nobody waits for the answers any more.
    """
    running = [_Running(steps) for steps in searches]
    for one in running:
        one.go_on()
    while any(one.need for one in running):
        _embed([one for one in running if isinstance(one.need, Embedding)], collection)
        _look_up([one for one in running if isinstance(one.need, Lookup)], collection)
    return [one.answer for one in running]  # type: ignore[misc] # they have ended


def run_alone(collection: OpenCollection, steps: Steps[T]) -> T:
    """Return the answer of one search. Raises as `run_together`, and the search's own errors."""
    (answer,) = run_together(collection, [steps])
    if isinstance(answer, AppError):
        raise answer
    return answer


def _embed(waiting: Sequence[_Running[T]], collection: OpenCollection) -> None:
    """Embed what these need, and let each go on."""
    if not waiting:
        return
    plans = [one.need.plan for one in waiting if isinstance(one.need, Embedding)]
    watch = Stopwatch()
    with watch.stage("encode"):
        vectors = embed(collection.encoders, plans)
    for one, plan, of_plan in zip(waiting, plans, vectors, strict=True):
        plan.query.watch.add(watch.stages)
        one.go_on(of_plan)


def _look_up(waiting: Sequence[_Running[T]], collection: OpenCollection) -> None:
    """Search the collection for what these need, and let each go on."""
    if not waiting:
        return
    needs = [one.need for one in waiting if isinstance(one.need, Lookup)]
    watch = Stopwatch()
    with watch.stage("recall"):
        found = collection.entities.search_all([one for need in needs for one in need.searches])
    place = 0
    for one, need in zip(waiting, needs, strict=True):
        need.watch.add(watch.stages)
        hits = found[place : place + len(need.searches)]
        place += len(need.searches)
        one.go_on(hits)
