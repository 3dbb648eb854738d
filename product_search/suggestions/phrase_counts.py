"""How many products have each word and phrase, and which of these are worth suggesting."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator

from data_models import SuggestionKind
from product_search.suggestions.prefix_index import Source
from product_search.text.phrases import JOINT, compact, compact_words, phrases, words_of

_MOST_COUNTED = 400_000  # words and phrases while titles are read, about 200 bytes each
_MOST_SUGGESTED = 150_000
# More than a word of titles, a category or a brand is what a person may be looking for.
_LABEL_BONUS = 1.0
_LENGTH_COST = 0.001  # for each character: of phrases that are as frequent, the shorter come first


def weight(count: int) -> float:
    """Return how much so many products, or searches, weigh among suggestions."""
    return math.log2(1 + count)


class PhraseCounts:
    """Counts of products by category, by brand, and by words and phrases of titles.

    Beyond `_MOST_COUNTED` words and phrases those of several words that one product alone has had
    so far are forgotten, so that in a very large catalog rare phrases may count too few products
    (lossy counting: Manku and Motwani, 2002).
    """

    def __init__(self) -> None:
        """Begin without products."""
        self._categories: Counter[str] = Counter()
        self._brands: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._texts: dict[str, str] = {}  # by key, where the title writes it otherwise
        self._ends: set[str] = set()  # keys of several words that end where a title pauses

    def add(self, title: str, category: str | None, brand: str | None) -> None:
        """Count a product."""
        if category:
            self._categories[category] += 1
        if brand:
            self._brands[brand] += 1
        found = {phrase.key: phrase for phrase in phrases(title)}
        self._counts.update(found.keys())
        for key, phrase in found.items():
            if phrase.is_end and JOINT in key:
                self._ends.add(key)
            if key not in self._texts and phrase.text != key.replace(JOINT, ""):
                self._texts[key] = phrase.text
        if len(self._counts) > _MOST_COUNTED:
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
                text, count = self._texts.get(key) or "".join(words), self._counts[key]
                heft = weight(count) - len(joined) * _LENGTH_COST
                yield Source(text, SuggestionKind.title_words, count, heft, words, False)

    def _worth_suggesting(self) -> list[str]:
        """Return the keys of words, and of phrases that are more than an accident of one title."""
        whole = {key for key in self._counts if self._is_whole(key)}
        kept = whole - {shorter for key in whole if (shorter := self._cut_short(key))}
        if len(kept) <= _MOST_SUGGESTED:
            return sorted(kept)
        return heapq.nlargest(_MOST_SUGGESTED, kept, key=lambda key: (self._counts[key], key))

    def _is_whole(self, key: str) -> bool:
        """Return whether a title pauses after the phrase, or several products have it."""
        return JOINT not in key or self._counts[key] > 1 or key in self._ends

    def _cut_short(self, key: str) -> str | None:
        """Return the phrase without its last word, where that never comes without it.

        A word alone is cut short only by a single character that belongs to it: 甜甜 is of 甜甜圈.
        """
        shorter, joint, last = key.rpartition(JOINT)
        if not joint or (JOINT not in shorter and len(last) > 1):
            return None
        return shorter if self._counts[shorter] == self._counts[key] else None

    def _forget_rare(self) -> None:
        rare = [key for key, count in self._counts.items() if count == 1 and JOINT in key]
        for key in rare:
            del self._counts[key]
            self._texts.pop(key, None)
            self._ends.discard(key)
