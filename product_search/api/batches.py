"""Batches of searches over HTTP, answered in turns of a few queries: other searches go between."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from fastapi import Request

from data_models import (
    MAX_BATCH_IMAGES,
    MAX_BATCH_TEXT,
    BatchRequest,
    BatchResponse,
    SearchRequest,
    SearchResponse,
    SearchSort,
)
from product_search.api.bodies import Body, validated
from product_search.api.fetches import fetch_pictures_of_all, names_urls
from product_search.api.threads import RequestThreads
from product_search.errors import AppError, InvalidRequest, Overloaded, PayloadTooLarge
from product_search.fetching.fetcher import Fetcher
from product_search.search.search import SearchService

# Turns at a time: half of the cores are left to the searches of others.
_THREADS = max(1, (os.cpu_count() or 1) // 2)
# Of all batches that are under way or wait: some 20 seconds of the dearest.
MAX_TURNS = 64
# What a turn has room for, in queries that cost little.
_ROOM = 16
_CHARACTERS, _IMAGE = 64, 2  # that cost as much as one, and as so many


class BatchThreads:
    """The threads in which batches are answered; used in one event loop.

    A batch is in one of them for a turn, and waits behind the others' turns for its next. Batches
    with pictures have threads of their own.
    """

    def __init__(self, threads: int = _THREADS, max_turns: int = MAX_TURNS) -> None:
        """Start none yet; refuse a batch where there would be more turns than `max_turns`."""
        self._texts = _Lane(RequestThreads(threads, max_turns, "batch_threads"), max_turns)
        pictures = RequestThreads.for_many_pictures("picture_batch_threads")
        self._pictures = _Lane(pictures, max_turns)

    async def answer(
        self,
        body: Body[BatchRequest],
        request: Request,
        search: SearchService,
        fetcher: Fetcher,
    ) -> BatchResponse:
        """Return the answers to a batch.

        Raises:
            Overloaded: there is no room for so many turns.
            ClientGone: the client has left.
            AppError: what reading the body raises, and what keeps all queries from an answer.
        """
        batch = _Batch(search)

        def begin(values: BatchRequest) -> None:
            batch.read(values)
            lane = self._pictures if batch.has_pictures else self._texts
            lane.admit(batch)
            if lane is self._texts:
                batch.take_turn()

        try:
            await body.apply(begin, self._texts.threads)
            await batch.fetch(request, fetcher)
            while batch.turns and batch.lane is not None:
                await batch.lane.threads.run(request, batch.take_turn)
        finally:
            if batch.lane is not None:
                batch.lane.leave(batch)
        return batch.response()


class _Lane:
    """Threads for turns, and the turns that are under way or wait."""

    def __init__(self, threads: RequestThreads, max_turns: int) -> None:
        self.threads = threads
        self._max_turns = max_turns
        self._turns = 0  # of the batches that were admitted
        self._lock = threading.Lock()

    def admit(self, batch: _Batch) -> None:
        """Make room for the batch; the largest has room where there is no other."""
        turns = len(batch.turns)
        with self._lock:
            if self._turns and self._turns + turns > self._max_turns:
                raise Overloaded(Overloaded.example)
            self._turns += turns
        batch.admitted, batch.lane = turns, self

    def leave(self, batch: _Batch) -> None:
        """Free the batch's room."""
        with self._lock:
            self._turns -= batch.admitted


class _Batch:
    """The queries of one batch, and the answers so far."""

    def __init__(self, search: SearchService) -> None:
        self.turns: deque[list[int]] = deque()  # the places of their queries
        self.admitted = 0
        self.lane: _Lane | None = None  # in which it was admitted
        self._search = search
        self._requests: list[SearchRequest | AppError] = []
        self._answers: dict[int, SearchResponse | AppError] = {}

    def read(self, values: BatchRequest) -> None:
        """Read the queries, and divide those that are right into turns."""
        self._requests = list(_bounded(_query(value) for value in values.queries))
        self.turns.extend(_turns(self._requests))

    async def fetch(self, request: Request, fetcher: Fetcher) -> None:
        """Fetch the pictures that queries name by URL; what can't be fetched is that query's error.

        Raises:
            ClientGone: the client has left.
        """
        named = {
            place: one
            for place, one in enumerate(self._requests)
            if isinstance(one, SearchRequest) and one.image_count and names_urls(one)
        }
        if named:
            errors = await fetch_pictures_of_all(request, list(named.values()), fetcher)
            for place, error in zip(named, errors, strict=True):
                if error is not None:
                    self._requests[place] = error

    @property
    def has_pictures(self) -> bool:
        """Whether pictures are decoded for it."""
        return any(isinstance(one, SearchRequest) and one.image_count for one in self._requests)

    def take_turn(self) -> None:
        """Answer the queries of the next turn, if there is any."""
        if not self.turns:
            return
        requests = {place: self._requests[place] for place in self.turns.popleft()}
        right = {n: one for n, one in requests.items() if isinstance(one, SearchRequest)}
        answers = self._search.search_batch(list(right.values()))
        self._answers.update(zip(right, answers, strict=True))

    def response(self) -> BatchResponse:
        """Return an answer, or an error, to each query."""
        results = [self._answers.get(place, one) for place, one in enumerate(self._requests)]
        return BatchResponse(
            results=[one.body() if isinstance(one, AppError) else one for one in results]
        )


def _turns(requests: Sequence[SearchRequest | AppError]) -> Iterator[list[int]]:
    """Yield the places of the queries that are answered in one turn."""
    turn: list[int] = []
    left = _ROOM
    for place, request in enumerate(requests):
        if isinstance(request, AppError):
            continue
        cost = _cost(request)
        if turn and cost > left:
            yield turn
            turn, left = [], _ROOM
        turn.append(place)
        left -= cost
    if turn:
        yield turn


def _cost(request: SearchRequest) -> int:
    """Return how much of a turn a query takes."""
    is_deep = request.offset or request.cursor or request.facets
    if is_deep or request.sort is not SearchSort.relevance:  # reads a thousand products and more
        return _ROOM
    return max(1, request.text_length // _CHARACTERS + _IMAGE * request.image_count)


def _query(value: object) -> SearchRequest | InvalidRequest:
    """Return the query as a request, or what is wrong with it."""
    try:
        return validated(SearchRequest, value)
    except InvalidRequest as error:
        return error


def _bounded(requests: Iterable[SearchRequest | AppError]) -> Iterator[SearchRequest | AppError]:
    """Yield the requests for which there is room beside those before them, and errors for the rest.

    All of a batch is in memory at the same time as it came.
    """
    images = characters = 0
    for request in requests:
        if isinstance(request, AppError):
            yield request
        elif images + request.image_count > MAX_BATCH_IMAGES:
            yield _too_much(f"{MAX_BATCH_IMAGES} 张图片")
        elif characters + request.text_length > MAX_BATCH_TEXT:
            yield _too_much(f"{MAX_BATCH_TEXT} 个字符")
        else:
            images += request.image_count
            characters += request.text_length
            yield request


def _too_much(most: str) -> PayloadTooLarge:
    return PayloadTooLarge(f"一批最多 {most}：请把这个查询放到下一批")
