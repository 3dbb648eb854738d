"""The catalog's words in Latin letters and digits, by which misspelt ones are recognised."""

from __future__ import annotations

import functools
import operator
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import DamerauLevenshtein

from product_search.text.analysis import fold

_WORDS = re.compile(r"[a-z0-9]+(?:[-/._+'’&][a-z0-9]+)*")
_PARTS = re.compile(r"[a-z0-9]+")
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


class Vocabulary:
    """Words in Latin letters and digits, each with the number of products that have it."""

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        """Take the words, in lower case, with their numbers of products."""
        self._counts = dict(counts or {})
        by_length: dict[int, list[str]] = defaultdict(list)
        for word in self._counts:
            if word.isalpha():  # a number or a model number is no misspelt word
                by_length[len(word)].append(word)
        self._by_length = {length: _Words(words) for length, words in by_length.items()}

    def __len__(self) -> int:
        """Return the number of words."""
        return len(self._counts)

    def has(self, word: str) -> bool:
        """Return whether a product has the word, which is in lower case."""
        return word in self._counts

    def nearest(self, word: str) -> list[str]:
        """Return the words of the catalog that this one, in lower case, may be, misspelt.

        They are one typing mistake away (a letter too many, missing, wrong, or two swapped), or two
        where this word has 8 letters or more: those with the fewest mistakes, the most frequent
        first. A word with digits has none.
        """
        if not (word.isascii() and word.isalpha()):
            return []
        most = 2 if len(word) >= _LONG else 1
        near = sorted(
            (distance, -self._counts[other], other)
            for length in range(len(word) - most, len(word) + most + 1)
            for other, distance, _ in process.extract_iter(
                word,
                self._by_length.get(length, _NO_WORDS).sharing_letters(word, most),
                scorer=DamerauLevenshtein.distance,
                score_cutoff=most,
            )
        )
        return [other for distance, _, other in near if distance == near[0][0]]
