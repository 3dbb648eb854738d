"""Suggestions in memory, the weightiest of which are found by what their keys begin with."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from data_models import SuggestionKind
from product_search.text.phrases import compact, compact_words, pinyin

_KEY_BYTES = 32  # of a key that are kept; where more is typed, the texts themselves are compared
# What the way by which it is found takes from a suggestion's weight.
_BY_PINYIN, _BY_INITIALS, _WITHIN = 1.0, 2.0, 3.0
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")


class Source(NamedTuple):
    """What may be suggested, and the words by which it is found."""

    text: str
    kind: SuggestionKind
    products: int | None
    weight: float
    words: Sequence[str]  # in lower case
    is_found_within: bool  # whether what is typed may begin with any of its words


class Found(NamedTuple):
    """What may be suggested; from its weight is taken what the way of finding it takes."""

    text: str
    kind: SuggestionKind
    products: int | None
    weight: float


class PrefixIndex:
    """Suggestions by prefixes of their texts, their pinyin and their initials; never changed."""

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        """Take the suggestions, of which no two have the same text."""
        # Not a list of tuples: hundreds of thousands of them are for the garbage collector to walk.
        self._texts: list[str] = []
        self._kinds: list[SuggestionKind] = []
        self._products: list[int | None] = []
        keys: list[bytes] = []
        places, weights = array("i"), array("f")
        for place, source in enumerate(sources):
            self._texts.append(source.text)
            self._kinds.append(source.kind)
            self._products.append(source.products)
            for key, cost in _keys(source).items():
                keys.append(key.encode()[:_KEY_BYTES])
                places.append(place)
                weights.append(source.weight - cost)
        unordered = np.array(keys, dtype=f"S{_KEY_BYTES}")
        order = np.argsort(unordered, kind="stable")
        self._keys = unordered[order]
        self._places = np.array(places, dtype=np.int32)[order]
        self._weights = np.array(weights, dtype=np.float32)[order]

    def __len__(self) -> int:
        """Return the number of suggestions."""
        return len(self._texts)

    def find(self, typed: str, limit: int) -> list[Found]:
        """Return the weightiest suggestions with a key that begins with a compact text."""
        needle = typed.encode()
        ends = np.array(
            [needle[:_KEY_BYTES], needle[:_KEY_BYTES].ljust(_KEY_BYTES, b"\xff")], self._keys.dtype
        )
        first = int(np.searchsorted(self._keys, ends[0], "left"))
        last = int(np.searchsorted(self._keys, ends[1], "right"))
        found: dict[int, float] = {}
        looked_at = 4 * limit  # a suggestion may be found by several keys
        while True:
            for row in self._best(first, last, looked_at):
                place = int(self._places[row])
                if place not in found and self._begins(place, typed, needle):
                    found[place] = float(self._weights[row])
            if len(found) >= limit or looked_at >= last - first:
                break
            looked_at *= 4
        return [self._found(place, weight) for place, weight in list(found.items())[:limit]]

    def get(self, text: str) -> Found | None:
        """Return what has just this compact text; None where nothing has."""
        key = np.array([text.encode()], self._keys.dtype)[0]
        first, last = (int(np.searchsorted(self._keys, key, side)) for side in _SIDES)
        for row in range(first, last):
            place = int(self._places[row])
            if compact(self._texts[place]) == text:
                return self._found(place, float(self._weights[row]))
        return None

    def _found(self, place: int, weight: float) -> Found:
        return Found(self._texts[place], self._kinds[place], self._products[place], weight)

    def _best(self, first: int, last: int, count: int) -> Iterator[int]:
        """Yield up to so many rows of the range, the weightiest first."""
        weights = self._weights[first:last]
        if count < len(weights):
            rows = np.argpartition(-weights, count)[:count]
        else:
            rows = np.arange(len(weights))
        return (first + int(row) for row in rows[np.lexsort((rows, -weights[rows]))])

    def _begins(self, place: int, typed: str, needle: bytes) -> bool:
        is_short = len(needle) <= _KEY_BYTES
        return is_short or compact(self._texts[place]).startswith(typed)


def _keys(source: Source) -> dict[str, float]:
    """Return the keys of a suggestion, with what each takes from its weight."""
    keys: dict[str, float] = {}
    words = source.words
    starts = range(len(words)) if source.is_found_within else range(1)
    for start in starts:
        cost = _WITHIN if start else 0.0
        keys.setdefault(compact_words(words[start:]), cost)
        if sounds := pinyin(words[start:]):
            keys.setdefault(sounds.whole, cost + _BY_PINYIN)
            for key in (sounds.initials, *sounds.mixed):
                keys.setdefault(key, cost + _BY_INITIALS)
    return keys
