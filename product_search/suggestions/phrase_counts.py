"""How many products have each word and phrase, and which of these are worth suggesting."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterator

from data_models import SuggestionKind
from product_search.suggestions.prefix_index import Source
from product_search.text.analysis import is_known
from product_search.text.phrases import JOINT, compact, compact_words, phrases, words_of

_MOST_COUNTED = 200_000  # phrases of several words while titles are read, about 200 bytes each
_ROOM = 0.7  # of these are left, when the rarest are forgotten
_MOST_SUGGESTED = 60_000
# More than a word of titles, a category or a brand is what a person may be looking for.
_LABEL_BONUS = 1.0
_END_BONUS = 0.5  # what a title pauses after is a thing more often than what qualifies it
_LENGTH_COST = 0.001  # for each character: of phrases that are as frequent, the shorter come first


def weight(count: int) -> float:
    """Return how much so many products, or searches, weigh among suggestions."""
    return math.log2(1 + count)


class PhraseCounts:
    """Counts of products by category, by brand, and by words and phrases of titles.

    Where there are more than `_MOST_COUNTED` phrases of several words, the rarest so far are
    forgotten, so that in a large catalog rare phrases may count too few products (lossy counting:
    Manku and Motwani, 2002). Words, categories and brands are always counted whole.
    """

    def __init__(self) -> None:
        """Begin without products."""
        self._categories: Counter[str] = Counter()
        self._brands: Counter[str] = Counter()
        self._words: Counter[str] = Counter()
        self._phrases: Counter[str] = Counter()  # of several words
        self._texts: dict[str, str] = {}  # by key, where the title writes it otherwise
        self._ends: set[str] = set()  # of both, those that end where a title pauses
        self._forgotten = 0  # products that phrases may have had which were forgotten

    def add(self, title: str, category: str | None, brand: str | None) -> None:
        """Count a product."""
        if category:
            self._categories[category] += 1
        if brand:
            self._brands[brand] += 1
        found = {phrase.key: phrase for phrase in phrases(title)}
        for key, phrase in found.items():
            (self._phrases if JOINT in key else self._words)[key] += 1
            if phrase.is_end:
                self._ends.add(key)
            if phrase.text != key.replace(JOINT, ""):
                self._texts.setdefault(key, phrase.text)
        if len(self._phrases) > _MOST_COUNTED:
            self._forget_rare()

    def sources(self) -> Iterator[Source]:
        """Yield what is to be suggested, each text once: categories, then brands, then words."""
        seen: set[str] = set()
        for kind, labels in (
            (SuggestionKind.category, self._categories),
            (SuggestionKind.brand, self._brands),
        ):
            for text, count in labels.items():
                if (key := compact(text)) and key not in seen:
                    seen.add(key)
                    words = words_of(text)
                    yield Source(text, kind, count, weight(count) + _LABEL_BONUS, words, True)
        for key in self._worth_suggesting():
            words = key.split(JOINT)
            if (joined := compact_words(words)) and joined not in seen:
                seen.add(joined)
                text, count = self._texts.get(key) or "".join(words), self._count(key)
                heft = weight(count) - len(joined) * _LENGTH_COST
                if key in self._ends:
                    heft += _END_BONUS
                yield Source(text, SuggestionKind.title_words, count, heft, words, False)

    def _worth_suggesting(self) -> list[str]:
        """Return the keys of words, and of phrases that are more than an accident of one title."""
        whole = [key for key, count in self._phrases.items() if count > 1 or key in self._ends]
        cut_short = {shorter for key in whole if (shorter := self._cut_short(key))}
        words = [key for key, count in self._words.items() if count > 1 or self._is_word(key)]
        kept = [key for key in itertools.chain(words, whole) if key not in cut_short]
        if len(kept) <= _MOST_SUGGESTED:
            return kept
        return heapq.nlargest(_MOST_SUGGESTED, kept, key=self._count)

    def _is_word(self, key: str) -> bool:
        """Return whether a word of one product is no guess at where words part (歇 | 约会)."""
        return key in self._ends or key.isascii() or is_known(key)

    def _cut_short(self, key: str) -> str | None:
        """Return the phrase without its last word, where that never comes without it.

        A word alone is cut short only by a single character that belongs to it: 甜甜 is of 甜甜圈.
        """
        shorter, _, last = key.rpartition(JOINT)
        if JOINT not in shorter and len(last) > 1:
            return None
        return shorter if self._count(shorter) == self._phrases[key] else None

    def _count(self, key: str) -> int:
        return self._phrases[key] if JOINT in key else self._words[key]

    def _forget_rare(self) -> None:
        """Forget the rarest phrases, until there is room for others."""
        while len(self._phrases) > _MOST_COUNTED * _ROOM:
            self._forgotten += 1
            rare = [key for key, count in self._phrases.items() if count <= self._forgotten]
            for key in rare:
                del self._phrases[key]
                self._texts.pop(key, None)
                self._ends.discard(key)
