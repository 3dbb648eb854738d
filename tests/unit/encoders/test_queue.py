"""The queue before a network: order, parts, and in which thread each phase runs."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from product_search.encoders.embeddings import Matrix
from product_search.encoders.queue import NetworkQueue


class Network:
    """Embeds texts as their lengths, and notes what runs where."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[tuple[str, int]] = set()

    def prepare(self, texts: Sequence[str]) -> list[int]:
        """The lengths."""
        self.threads.add(("prepare", threading.get_ident()))
        return [len(text) for text in texts]

    def embed(self, lengths: Sequence[int]) -> Matrix:
        """A row for each length."""
        self.threads.add(("embed", threading.get_ident()))
        self.batches.append(list(lengths))
        return np.array([[length] for length in lengths], np.float32)

    def queue(self, max_cost: int = 1000) -> NetworkQueue[str, int]:
        """A queue before it, where a text costs its length."""
        return NetworkQueue(
            "test", self.prepare, self.embed, 1, max_cost=max_cost, cost=lambda length: length
        )


def test_rows_come_in_the_order_of_the_texts() -> None:
    network = Network()
    texts = ["x" * (1 + 37 * place % 50) for place in range(500)]
    rows = network.queue(max_cost=100).encode(texts)
    assert rows.dtype == np.float32
    assert rows[:, 0].tolist() == [len(text) for text in texts]
    assert all(max(batch) * len(batch) <= 100 for batch in network.batches)


def test_nothing_is_an_empty_matrix() -> None:
    network = Network()
    assert network.queue().encode([]).shape == (0, 1)
    assert network.batches == []


def test_texts_are_prepared_by_their_caller_and_embedded_by_one_thread() -> None:
    network = Network()
    queue = network.queue()
    for text in ("a", "bb"):
        queue.encode([text])
    prepared, embedded = (
        {thread for phase, thread in network.threads if phase == name}
        for name in ("prepare", "embed")
    )
    assert prepared == {threading.get_ident()}
    assert len(embedded) == 1
    assert embedded.isdisjoint(prepared)
