"""The embeddings of queries that were asked before, and of those that are being encoded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from product_search.batching import caller_is_gone
from product_search.errors import ClientGone
from product_search.telemetry import CacheMetrics

Key = TypeVar("Key")
Vector = NDArray[np.float32]
ENTRIES = 10_000  # some 30 MB


class EmbeddingCache(Generic[Key]):
    """The latest embeddings of one pair of encoders, by what was encoded."""

    def __init__(self, max_entries: int = ENTRIES) -> None:
        """Remember so many, those that were not asked for the longest going first."""
        self._max_entries = max_entries
        self._metrics = CacheMetrics("query_embedding")
        self._lock = threading.Lock()
        self._known: OrderedDict[Key, Vector] = OrderedDict()
        self._running: dict[Key, Future[Vector]] = {}

    def get(
        self, keys: Iterable[Key], encode: Callable[[Sequence[Key]], Iterable[Vector]]
    ) -> Mapping[Key, Vector]:
        """Return the embedding of each key, which can't be changed.

        `encode` returns those of keys that are neither known nor being encoded by another thread;
        those are waited for. Where the other thread fails, this one encodes by itself: the reason
        may have been in what else it encoded, or in its caller.

        Raises:
            ClientGone: nobody waits for the answer any more.
            Exception: what `encode` raises.
        """
        found: dict[Key, Vector] = {}
        left = list(dict.fromkeys(keys))
        while left:
            mine, others = self._look_up(left, found)
            if mine:
                found |= self._encode(mine, encode)
            left = [key for key, future in others.items() if not _join(key, future, found)]
            if left and caller_is_gone():
                raise ClientGone
        return found

    def knows(self, keys: Iterable[Key]) -> bool:
        """Return whether all these embeddings are there."""
        with self._lock:
            return all(key in self._known for key in keys)

    def _look_up(
        self, keys: Sequence[Key], found: dict[Key, Vector]
    ) -> tuple[list[Key], dict[Key, Future[Vector]]]:
        """Add what is known to `found`; return the keys to encode, and those that others do."""
        mine: list[Key] = []
        others: dict[Key, Future[Vector]] = {}
        with self._lock:
            for key in keys:
                if key in self._known:
                    self._known.move_to_end(key)
                    found[key] = self._known[key]
                elif key in self._running:
                    others[key] = self._running[key]
                else:
                    self._running[key] = Future()
                    mine.append(key)
        self._metrics.hit.inc(len(keys) - len(mine) - len(others))
        self._metrics.miss.inc(len(mine))
        self._metrics.joined.inc(len(others))
        return mine, others

    def _encode(
        self, keys: Sequence[Key], encode: Callable[[Sequence[Key]], Iterable[Vector]]
    ) -> dict[Key, Vector]:
        """Encode the keys, and let those have the embeddings who wait for them."""
        try:
            made = {key: _kept(row) for key, row in zip(keys, encode(keys), strict=True)}
        except BaseException as error:  # those who wait must not wait for ever
            with self._lock:
                futures = [self._running.pop(key) for key in keys]
            for future in futures:
                future.set_exception(error)
            raise
        with self._lock:
            futures = [self._running.pop(key) for key in keys]
            self._known |= made
            while len(self._known) > self._max_entries:
                self._known.popitem(last=False)
        for future, vector in zip(futures, made.values(), strict=True):
            future.set_result(vector)
        return made


def _kept(row: Vector) -> Vector:
    """Return a copy that can't be changed: a row of a matrix would keep all of it in memory."""
    copy = row.copy()
    copy.setflags(write=False)
    return copy


def _join(key: Key, future: Future[Vector], found: dict[Key, Vector]) -> bool:
    """Add another thread's embedding to `found`, and return whether it has made one."""
    if future.exception() is not None:
        return False
    found[key] = future.result()
    return True
