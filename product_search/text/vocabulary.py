"""The catalog's words in Latin letters and digits, by which misspelt ones are recognised."""

from __future__ import annotations

import functools
import itertools
import operator
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import DamerauLevenshtein

from product_search.text.analysis import fold

_WORDS = re.compile(r"[a-z0-9]+(?:[-/._+'’&][a-z0-9]+)*")
_PARTS = re.compile(r"[a-z0-9]+")
_NAME_AND_NUMBER = re.compile(r"([a-z]{4,})[0-9]+")
_MOST_ADDED = 1000  # words, until all are read anew: each is looked at by itself
_LONG = 8  # letters, of which two may be wrong


def latin_words(text: str) -> Iterator[str]:
    """Yield the words of a text in Latin letters and digits, in lower case.

    What signs part (wh-1000xm5) comes in its parts and as one word (wh1000xm5).
    """
    for found in _WORDS.findall(fold(text)):
        parts = _PARTS.findall(found)
        yield from parts
        if len(parts) > 1:
            yield "".join(parts)


class _Words:
    """Words of one length, of which those are soon found that may be near to another."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._letters = np.array([_letters(word) for word in words], dtype=np.uint32)

    def sharing_letters(self, word: str, mistakes: int) -> list[str]:
        """Return the words that are no more than so many mistakes away, and some others.

        A mistake changes at most two of the letters that a word has. To compare 50,000 words by
        their letters takes a hundredth of the time that their distances take.
        """
        differ = np.bitwise_count(self._letters ^ np.uint32(_letters(word)))
        return [self._words[place] for place in np.flatnonzero(differ <= 2 * mistakes).tolist()]


def _letters(word: str) -> int:
    """Return which of the 26 letters the word has, one bit each."""
    return functools.reduce(operator.or_, (1 << ord(letter) - ord("a") for letter in word), 0)


_NO_WORDS = _Words(())


def product_words(title: str, brand: str | None) -> set[str]:
    """Return the words of a product in Latin letters and digits; of iphone15 iphone too."""
    words = {*latin_words(title), *latin_words(brand or "")}
    return words.union(found[1] for found in map(_NAME_AND_NUMBER.fullmatch, words) if found)


class _Contents:
    """Words with their numbers of products, arranged by length."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.counts = dict(counts)
        by_length: dict[int, list[str]] = defaultdict(list)
        for word in self.counts:
            if word.isalpha():  # a number or a model number is no misspelt word
                by_length[len(word)].append(word)
        self._by_length = {length: _Words(words) for length, words in by_length.items()}

    def sharing_letters(self, word: str, mistakes: int) -> Iterator[str]:
        """Yield the words that are no more than so many mistakes away, and some others."""
        for length in range(len(word) - mistakes, len(word) + mistakes + 1):
            yield from self._by_length.get(length, _NO_WORDS).sharing_letters(word, mistakes)


class Vocabulary:
    """Words in Latin letters and digits, each with the number of products that have it.

    What is added is known at once, also to searches in other threads, and counted when the
    catalog is read anew.
    """

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        """Take the words, in lower case, with their numbers of products."""
        self._contents = _Contents(counts or {})
        self._added: Mapping[str, None] = {}  # in their order; replaced, never changed
        self._turn = threading.Lock()

    def __len__(self) -> int:
        """Return the number of words that were counted."""
        return len(self._contents.counts)

    @property
    def added(self) -> int:
        """How many words were added since the last ones were counted."""
        return len(self._added)

    def add(self, words: Iterable[str]) -> None:
        """Add the words of a product that is new or changed; beyond a thousand they must wait."""
        with self._turn:
            new = [word for word in words if not self.has(word)]
            if new and len(self._added) < _MOST_ADDED:
                self._added = {**self._added, **dict.fromkeys(new)}

    def replace(self, counts: Mapping[str, int], added: int) -> None:
        """Take other words in the place of all but those that were added after so many."""
        contents = _Contents(counts)
        with self._turn:
            self._contents = contents
            self._added = dict.fromkeys(itertools.islice(self._added, added, None))

    def has(self, word: str) -> bool:
        """Return whether a product has the word, which is in lower case."""
        return word in self._contents.counts or word in self._added

    def nearest(self, word: str) -> list[str]:
        """Return the words of the catalog that this one, in lower case, may be, misspelt.

        They are one typing mistake away (a letter too many, missing, wrong, or two swapped), or two
        where this word has 8 letters or more: those with the fewest mistakes, the most frequent
        first. A word with digits has none.
        """
        if not (word.isascii() and word.isalpha()):
            return []
        most = 2 if len(word) >= _LONG else 1
        contents = self._contents
        added = (one for one in self._added if one.isalpha())
        found = process.extract_iter(
            word,
            [*contents.sharing_letters(word, most), *added],
            scorer=DamerauLevenshtein.distance,
            score_cutoff=most,
        )
        near = sorted({(far, -contents.counts.get(other, 1), other) for other, far, _ in found})
        return [other for distance, _, other in near if distance == near[0][0]]
