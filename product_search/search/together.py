"""Searches that run together: what each needs next is fetched for all of them at once.

A search is a generator. It yields what it needs, vectors of texts and images, what a collection
finds or the products of entities, and is sent it; what it returns is its answer. So one thread
takes many searches forward, with one batch for the encoders and one call for each store, where a
thread for each would spend most of its time on handing over the interpreter.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from data_models import SearchFilters
from orm_models import Database, Product, filter_conditions
from product_search.batching import RETRY_WITHIN_S
from product_search.catalog.rows import BoundProduct, BoundProducts, bound_products
from product_search.errors import DatabaseUnavailable, Overloaded, VectorStoreUnavailable
from product_search.indexing.collections import OpenCollection
from product_search.milvus.hits import Hits
from product_search.milvus.searches import EntitySearch, Found, hits_or_raise
from product_search.search.inputs import Stopwatch
from product_search.search.plan import LegVectors, Plan, embed, is_embedded

T = TypeVar("T")
_OF_ALL = (Overloaded, DatabaseUnavailable)  # whatever is asked for
_FEW = 1000  # entities that are bound together with those of other searches


class Stores(NamedTuple):
    """What searches are run in."""

    database: Database
    collection: OpenCollection


@dataclass(frozen=True, eq=False)
class Embedding:
    """The need for the vectors of a plan's dense legs; what is sent are LegVectors."""

    plan: Plan

    @property
    def watch(self) -> Stopwatch:
        """The stopwatch of the query."""
        return self.plan.query.watch

    def group(self, stores: Stores) -> Hashable:
        """Tell those apart that need no encoder: what the encoder takes is the others' time."""
        return is_embedded(stores.collection.encoders, self.plan)


@dataclass(frozen=True, eq=False)
class Lookup:
    """The need for the hits of some searches of the collection; what is sent are their Found."""

    searches: Sequence[EntitySearch]
    watch: Stopwatch

    def group(self, _stores: Stores) -> Hashable:
        """Return the same for all: the collection sorts them itself."""
        return None


@dataclass(frozen=True, eq=False)
class Binding:
    """The need for the products that entities are bound to; what is sent are BoundProducts.

    Those that don't pass the filters' conditions on columns are not among them, nor those without
    an image where one is needed. By their milvus_ids `choose` gets them, and returns the ids of
    those whose rows are wanted. There may be other searches' products too.
    """

    milvus_ids: Sequence[int]
    filters: SearchFilters
    needs_image: bool
    choose: Callable[[Mapping[int, BoundProduct]], Sequence[int]]
    watch: Stopwatch

    def group(self, _stores: Stores) -> Hashable:
        """Return what those have in common that are read together."""
        is_large = len(self.milvus_ids) > _FEW
        return id(self) if is_large else (self.filters.model_dump_json(), self.needs_image)


Need = Embedding | Lookup | Binding
Steps = Generator[Need, Any, T]


def embedded(plan: Plan) -> Steps[LegVectors]:
    """Return the vectors of a plan, from within a search."""
    vectors: LegVectors = yield Embedding(plan)
    return vectors


def looked_up(searches: Sequence[EntitySearch], watch: Stopwatch) -> Steps[list[Hits]]:
    """Return the hits of some searches of the collection, from within a search.

    Raises:
        VectorStoreUnavailable: one has failed.
    """
    found = yield from looked_up_partly(searches, watch)
    return [hits_or_raise(one) for one in found]


def looked_up_partly(searches: Sequence[EntitySearch], watch: Stopwatch) -> Steps[list[Found]]:
    """Return of each search of the collection its hits, or why it failed, from within a search."""
    found: list[Found] = yield Lookup(searches, watch)
    return found


def bound(binding: Binding) -> Steps[BoundProducts]:
    """Return the products of a binding, from within a search."""
    products: BoundProducts = yield binding
    return products


@dataclass
class _Running(Generic[T]):
    """A search that runs: what it needs, until it has an answer or an error of its own."""

    steps: Steps[T]
    need: Need | None = None
    answer: T | Exception | None = None
    since: float = field(default_factory=time.perf_counter)  # nothing is done for it

    def begin(self) -> None:
        """Run until the first need or the answer."""
        waited = time.perf_counter() - self.since
        self.go_on()
        if self.need:
            self.need.watch.add({"wait": 1000 * waited})

    def go_on(self, sent: object = None) -> None:
        """Run until the next need or the answer."""
        try:
            self.need = self.steps.send(sent)
        except StopIteration as end:
            self.need, self.answer = None, end.value
        except Exception as error:  # noqa: BLE001 - whatever it is, the other searches go on
            self.fail(error)
        self.since = time.perf_counter()

    def resume(self, spent: Stopwatch, sent: object) -> None:
        """Go on with what it needed; all of the time but what that took was a wait for others."""
        assert self.need, "it has not ended"
        waited = 1000 * (time.perf_counter() - self.since) - sum(spent.stages.values())
        self.need.watch.add_shared(spent)
        self.need.watch.add({"wait": max(0.0, waited)})
        self.go_on(sent)

    def fail(self, error: Exception) -> None:
        """End with this error."""
        self.need, self.answer = None, error


def run_together(stores: Stores, searches: Sequence[Steps[T]]) -> list[T | Exception]:
    """Return the answer of each search, or its error.

    Raises:
        VectorStoreUnavailable: the vector store did not answer to any of them.
    """
    running = [_Running(steps) for steps in searches]
    for one in running:
        one.begin()
    while any(one.need for one in running):
        for kind, fetch in ((Embedding, _embed), (Lookup, _look_up), (Binding, _bind)):
            waiting = [one for one in running if isinstance(one.need, kind)]
            for group in _groups(waiting, stores):
                _fetch(group, stores, fetch)
    answers = [one.answer for one in running]
    failed = [one for one in answers if isinstance(one, VectorStoreUnavailable)]
    if failed and len(failed) == len(answers):
        raise failed[0]
    return answers  # type: ignore[return-value] # all have ended


def run_alone(stores: Stores, steps: Steps[T]) -> T:
    """Return the answer of one search. Raises its error."""
    (answer,) = run_together(stores, [steps])
    if isinstance(answer, Exception):
        raise answer
    return answer


def _groups(waiting: Sequence[_Running[T]], stores: Stores) -> list[list[_Running[T]]]:
    """Return those together whose needs of one kind are fetched at once."""
    if len(waiting) < 2:
        return [list(waiting)] if waiting else []
    groups = defaultdict[Hashable, list[_Running[T]]](list)
    for one in waiting:
        assert one.need, "it waits"
        groups[one.need.group(stores)].append(one)
    return list(groups.values())


_Fetch = Callable[[Sequence[_Running[T]], Stores], None]


def _fetch(waiting: Sequence[_Running[T]], stores: Stores, fetch: _Fetch[T]) -> None:
    """Fetch what these need, and let each go on; where that fails, fetch for each alone."""
    begun = time.perf_counter()
    try:
        fetch(waiting, stores)
    except Exception as error:  # noqa: BLE001 - whatever it is, those who need it get it
        is_of_all = isinstance(error, _OF_ALL) or time.perf_counter() - begun > RETRY_WITHIN_S
        for one in waiting:
            if is_of_all or len(waiting) == 1:
                one.fail(error)
            else:
                _fetch([one], stores, fetch)


def _embed(waiting: Sequence[_Running[T]], stores: Stores) -> None:
    plans = [one.need.plan for one in waiting if isinstance(one.need, Embedding)]
    spent = Stopwatch()
    with spent.stage("encode"):
        vectors = embed(stores.collection.encoders, plans)
    _resume(waiting, spent, vectors)


def _look_up(waiting: Sequence[_Running[T]], stores: Stores) -> None:
    needs = [one.need for one in waiting if isinstance(one.need, Lookup)]
    spent = Stopwatch()
    with spent.stage("recall"):
        searches = [search for need in needs for search in need.searches]
        found = iter(stores.collection.entities.search_all(searches))
    _resume(waiting, spent, [[next(found) for _ in need.searches] for need in needs])


def _bind(waiting: Sequence[_Running[T]], stores: Stores) -> None:
    needs = [one.need for one in waiting if isinstance(one.need, Binding)]
    conditions = filter_conditions(needs[0].filters)
    if needs[0].needs_image:
        conditions.append(Product.image_hash.is_not(None))

    def chosen(products: Mapping[int, BoundProduct]) -> list[int]:
        return list(dict.fromkeys(one for need in needs for one in need.choose(products)))

    milvus_ids = list(dict.fromkeys(key for need in needs for key in need.milvus_ids))
    spent = Stopwatch()
    with spent.stage("hydrate"):
        products = stores.database.read(bound_products, milvus_ids, conditions, chosen)
    _resume(waiting, spent, [products] * len(needs))


def _resume(waiting: Sequence[_Running[T]], spent: Stopwatch, sent: Sequence[object]) -> None:
    """Let each go on with what it needed."""
    for one, what in zip(waiting, sent, strict=True):
        one.resume(spent, what)
