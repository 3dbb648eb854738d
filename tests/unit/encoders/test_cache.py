"""The cache of query embeddings: what it knows, forgets, and encodes once for several."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from product_search.batching import Caller, calling
from product_search.encoders.cache import EmbeddingCache, Vector
from product_search.errors import ClientGone
from tests.clock import until

PATIENCE_S = 60.0


class Encoder:
    """Encodes words as their lengths, and counts."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.is_called = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def encode(self, words: Sequence[str]) -> Iterable[Vector]:
        """A row for each word; one that begins with ! can't be encoded."""
        self.seen += words
        self.is_called.set()
        assert self.may_answer.wait(PATIENCE_S)
        if any(word.startswith("!") for word in words):
            raise ValueError(words)
        return np.array([[len(word)] for word in words], np.float32)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


def lengths(found: object) -> dict[str, float]:
    assert isinstance(found, dict)
    return {word: float(vector[0]) for word, vector in found.items()}


def test_a_word_is_encoded_once(encoder: Encoder) -> None:
    cache = EmbeddingCache[str]()
    assert lengths(cache.get(["a", "bb", "a"], encoder.encode)) == {"a": 1, "bb": 2}
    assert lengths(cache.get(["bb", "ccc"], encoder.encode)) == {"bb": 2, "ccc": 3}
    assert encoder.seen == ["a", "bb", "ccc"]
    assert cache.get([], encoder.encode) == {}


def test_what_was_not_asked_for_the_longest_goes_first(encoder: Encoder) -> None:
    cache = EmbeddingCache[str](max_entries=2)
    for word in ("a", "b", "a", "c", "a", "b"):
        cache.get([word], encoder.encode)
    assert encoder.seen == ["a", "b", "c", "b"]


def test_it_tells_what_it_knows(encoder: Encoder) -> None:
    cache = EmbeddingCache[str]()
    cache.get(["a", "b"], encoder.encode)
    assert (cache.knows(["b", "a"]), cache.knows([]), cache.knows(["a", "c"])) == (
        True,
        True,
        False,
    )
    assert encoder.seen == ["a", "b"]


def test_an_embedding_can_not_be_changed_by_those_who_have_it(encoder: Encoder) -> None:
    (vector,) = EmbeddingCache[str]().get(["a"], encoder.encode).values()
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 7


def test_a_word_in_flight_is_encoded_once_for_all(encoder: Encoder) -> None:
    cache = EmbeddingCache[str]()
    encoder.may_answer.clear()
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(cache.get, ["a", "b"], encoder.encode)
        assert encoder.is_called.wait(PATIENCE_S)
        others = [threads.submit(cache.get, ["b", "cc"], encoder.encode) for _ in range(8)]
        until(lambda: "cc" in encoder.seen, "the other's own word")
        encoder.may_answer.set()
        assert lengths(first.result()) == {"a": 1, "b": 1}
        assert all(lengths(one.result()) == {"b": 1, "cc": 2} for one in others)
    assert encoder.seen == ["a", "b", "cc"]


def test_where_another_fails_its_word_is_encoded_anew(encoder: Encoder) -> None:
    cache = EmbeddingCache[str]()
    encoder.may_answer.clear()
    with ThreadPoolExecutor(2) as threads:
        bad = threads.submit(cache.get, ["good", "!bad"], encoder.encode)
        assert encoder.is_called.wait(PATIENCE_S)
        good = threads.submit(cache.get, ["good", "x"], encoder.encode)
        until(lambda: "x" in encoder.seen, "the other's own word")
        encoder.may_answer.set()
        with pytest.raises(ValueError, match="bad"):
            bad.result()
        assert lengths(good.result()) == {"good": 4, "x": 1}
    assert encoder.seen.count("good") == 2
    assert cache.get(["good"], encoder.encode)


def test_a_caller_that_has_gone_encodes_nothing_anew(encoder: Encoder) -> None:
    cache, gone = EmbeddingCache[str](), Caller()
    encoder.may_answer.clear()

    def ask() -> object:
        with calling(gone):
            return cache.get(["!bad", "x"], encoder.encode)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.get, ["!bad"], encoder.encode)
        assert encoder.is_called.wait(PATIENCE_S)
        other = threads.submit(ask)
        until(lambda: "x" in encoder.seen, "the other's own word")
        gone.is_gone = True
        encoder.may_answer.set()
        assert isinstance(first.exception(), ValueError)
        assert isinstance(other.exception(), ClientGone)
    assert encoder.seen == ["!bad", "x"]
