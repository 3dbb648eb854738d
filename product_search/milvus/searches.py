"""Searches of one collection, those of different requests together in calls of Milvus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from product_search.batching import Batcher, Ticket, gather
from product_search.errors import VectorStoreUnavailable
from product_search.milvus.entities import TERMS, Vector
from product_search.milvus.filters import filter_expression
from product_search.milvus.hits import Hits
from product_search.milvus.milvus_lite import NOT_AVAILABLE
from product_search.schemas.filters import SearchFilters
from product_search.schemas.search import VectorField

MAX_LIMIT = 16_384
# More in a call is hardly faster, and the first waits for the last (decision 0021).
VECTORS_IN_A_CALL = 32
_MAX_WAITING = 2000
# As long as a call may take: the calls before it may all be waiting for a Milvus that hangs.
PATIENCE_S = 30.0


@dataclass(frozen=True, eq=False)
class VectorSearch:
    """The nearest entities by cosine that pass the filters, at most `limit`."""

    field: VectorField
    vector: Vector
    limit: int
    filters: SearchFilters
    with_terms: bool = False  # whether the hits tell their terms


@dataclass(frozen=True)
class TermSearch:
    """The best entities by BM25 for terms that are parted by spaces, at most `limit`.

    Their terms come with them. `only` are the entities to look at, at most MAX_LIMIT.
    """

    terms: str
    limit: int
    filters: SearchFilters
    only: Sequence[int] | None = None


EntitySearch = VectorSearch | TermSearch
Found = Hits | VectorStoreUnavailable


def hits_or_raise(found: Found) -> Hits:
    """Return the hits. Raises VectorStoreUnavailable where there are none for that reason."""
    if isinstance(found, VectorStoreUnavailable):
        raise found
    return found


class CallKind(NamedTuple):
    """All that one call of Milvus has once, however many vectors or texts it looks for."""

    field: VectorField
    limit: int
    condition: str
    is_filtered: bool  # by more than by whether there is an image
    with_terms: bool


class Sought(NamedTuple):
    """What one search looks for: a vector, or terms."""

    kind: CallKind
    data: list[float] | str


class FoundHits(Protocol):
    """What Milvus found for one vector or text, as pymilvus has it: column by column."""

    ids: Sequence[int]
    distances: Sequence[float]

    def get_raw_item(self, idx: int) -> dict[str, dict[str, str]]:
        """Return a hit; its "entity" has the output fields."""
        ...


class NoHits:
    """FoundHits of which there are none."""

    ids: Sequence[int] = ()
    distances: Sequence[float] = ()

    def get_raw_item(self, idx: int) -> dict[str, dict[str, str]]:
        """See FoundHits."""
        raise IndexError(idx)


Call = Callable[[CallKind, Sequence[list[float] | str]], Sequence[FoundHits]]


class SearchQueue:
    """The searches of one collection that wait for Milvus; those of one kind share a call."""

    def __init__(self, name: str, call: Call, calls_at_once: int) -> None:
        """Call Milvus by `call`, so many times at once."""
        self._call = call
        self._batcher = Batcher[Sought, FoundHits](
            name,
            self._run,
            max_cost=VECTORS_IN_A_CALL,
            max_waiting=_MAX_WAITING,
            patience_s=PATIENCE_S,
            threads=calls_at_once,
            key=lambda sought: sought.kind,
        )

    def run(self, searches: Sequence[EntitySearch]) -> list[Found]:
        """Return the hits of each search, best first, or why there are none."""
        wanted = [_sought(search) for search in searches]
        tickets = self._batcher.submit(wanted)
        return [_found(sought, ticket) for sought, ticket in zip(wanted, tickets, strict=True)]

    def _run(self, batch: Sequence[Sought]) -> Sequence[FoundHits]:
        return self._call(batch[0].kind, [sought.data for sought in batch])


def _found(sought: Sought, ticket: Ticket[FoundHits]) -> Found:
    try:
        (hits,) = gather([ticket])
    except TimeoutError:
        return VectorStoreUnavailable(NOT_AVAILABLE)
    except VectorStoreUnavailable as error:
        return error
    return _hits(sought.kind, hits)


def _sought(search: EntitySearch) -> Sought:
    limit, is_filtered = min(search.limit, MAX_LIMIT), search.filters != SearchFilters()
    if isinstance(search, VectorSearch):
        condition = filter_expression(
            search.filters, image_leg=search.field is VectorField.image_clip
        )
        kind = CallKind(search.field, limit, condition, is_filtered, search.with_terms)
        # pymilvus packs a list twelve times as fast as an array.
        return Sought(kind, search.vector.tolist())
    conditions = [filter_expression(search.filters, image_leg=False)]
    if search.only is not None:
        conditions.append(f"primary_key in {list(search.only)}")
    condition = " and ".join(filter(None, conditions))
    kind = CallKind(VectorField.text_bm25, limit, condition, is_filtered, with_terms=True)
    return Sought(kind, search.terms)


def _hits(kind: CallKind, found: FoundHits) -> Hits:
    # Without the last digits, in which equal vectors differ by the order of the sums.
    scores = np.array(found.distances, np.float64).round(6)
    if kind.field is not VectorField.text_bm25:
        np.clip(scores, -1.0, 1.0, out=scores)
    keys = np.array(found.ids, np.int64)
    terms = [""] * len(keys)
    if kind.with_terms:
        terms = [found.get_raw_item(place)["entity"].get(TERMS, "") for place in range(len(keys))]
    return Hits(kind.field, keys, scores, terms)
