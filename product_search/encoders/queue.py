"""The queue before a network: items are made ready in their own threads, and embedded together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from product_search.batching import Batcher, Ticket, gather
from product_search.encoders.embeddings import Matrix

Raw = TypeVar("Raw")
Ready = TypeVar("Ready")
_AT_ONCE = 64  # items of one caller that are ready and wait
_MAX_WAITING = 1024  # items of all searches


class NetworkQueue(Generic[Raw, Ready]):
    """A network in two phases, of which the second runs for many threads at once."""

    def __init__(
        self,
        name: str,
        prepare: Callable[[Sequence[Raw]], Sequence[Ready]],
        embed: Callable[[Sequence[Ready]], Matrix],
        dim: int,
        *,
        max_cost: int,
        gives_way: bool = False,
        cost: Callable[[Ready], int] = lambda _: 1,
    ) -> None:
        """Start nothing yet.

        Args:
            name: in the metrics.
            prepare: tokenises texts, or shrinks images; runs in the caller's thread.
            embed: returns float32 (n, dim) of a batch; runs in a thread of the queue.
            dim: the length of an embedding.
            max_cost: of a batch, see Batcher.
            gives_way: likewise.
            cost: of an item that is ready.
        """
        self._prepare = prepare
        self._dim = dim
        self._batcher = Batcher(
            name, lambda items: list(embed(items)), max_cost=max_cost, max_waiting=_MAX_WAITING,
            gives_way=gives_way, cost=cost,
        )  # fmt: skip

    @classmethod
    def of_images(
        cls,
        prepare: Callable[[Sequence[Raw]], Sequence[Ready]],
        embed: Callable[[Sequence[Ready]], Matrix],
        dim: int,
        batch_size: int,
    ) -> NetworkQueue[Raw, Ready]:
        """Return the queue of a network of images, which gives way to those of texts."""
        return cls("image", prepare, embed, dim, max_cost=batch_size, gives_way=True)

    def encode(self, items: Sequence[Raw]) -> Matrix:
        """Return float32 (n, dim), order kept.

        Raises:
            Overloaded: too many searches wait.
            ClientGone: nobody waits for the answer any more.
        """
        rows: list[Matrix] = []
        ahead: list[Ticket[Matrix]] = []
        for start in range(0, len(items), _AT_ONCE):
            ready = self._prepare(items[start : start + _AT_ONCE])
            rows += gather(ahead)  # the network did not wait for these to be prepared
            ahead = self._batcher.submit(ready)
        rows += gather(ahead)
        return np.stack(rows) if rows else np.zeros((0, self._dim), np.float32)
