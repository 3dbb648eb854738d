"""Words that sound like others: wrong characters of an input method, and words typed in pinyin."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from product_search.text import analysis
from product_search.text.pinyin import sounds, syllables_of

_SHORTEST, _LONGEST = 2, 8  # characters of a word
_MUCH = 0.4  # the coverage of a query by a product that is an answer
_CLEARLY = 2  # times as many products must have one word as have the next that sounds like it


class Edit(NamedTuple):
    """What a part of a text, from `start` to `end`, probably was to say."""

    start: int
    end: int
    text: str
    is_sure: bool


class ProductWords:
    """The words of one product, from its terms in their order."""

    def __init__(self, terms: str, coverage: Callable[[frozenset[str]], float]) -> None:
        """Take the terms, parted by spaces, and how to tell what they cover of a query."""
        self._terms = f" {terms} "
        self._coverage = coverage

    def has(self, term: str) -> bool:
        """Return whether the product has the term; of most products no more is asked."""
        return f" {term} " in self._terms

    @cached_property
    def is_answer(self) -> bool:
        """Whether the product has much of the query, whichever way that is spelt."""
        return self._coverage(frozenset(self._in_order)) >= _MUCH

    @cached_property
    def chinese(self) -> frozenset[str]:
        """The Chinese words, and what two that stand side by side are together: 充电宝."""
        words = {one for one in self._in_order if analysis.is_han(one)}
        return frozenset(words.union(a + b for a, b in self._pairs() if a in words and b in words))

    def ends_with(self, word: str) -> bool:
        """Return whether a part of a text ends with the word: 蓝牙耳机 with 耳机, not with 蓝牙."""
        ends = (one for one, other in self._pairs() if not analysis.is_han(other))
        return any(end.endswith(word) or word.endswith(end) for end in ends)

    @cached_property
    def _in_order(self) -> list[str]:
        return self._terms.split()

    def _pairs(self) -> Iterator[tuple[str, str]]:
        return itertools.pairwise([*self._in_order, ""])


class Token(NamedTuple):
    """A word that a Chinese text is divided into, or a character that is left over."""

    start: int
    end: int
    is_word: bool  # of the dictionary or the operator's synonyms, of several characters
    is_barrier: bool  # a number, or a word that says nothing: it is part of no other


@dataclass(frozen=True)
class Stretch:
    """Some tokens that follow each other in a text, at least one of which is no known word."""

    text: str
    start: int
    syllables: tuple[str, ...]
    tokens: tuple[Token, ...]

    @property
    def end(self) -> int:
        """Where it ends in the text."""
        return self.start + len(self.text)

    def edit(self, products: Sequence[ProductWords]) -> Edit | None:
        """Return the products' word that sounds like it; None where there is none.

        Also where a product has it as it is: then it is right.
        """
        alike = list(_sounding(products, self.syllables))
        if any(self.text in one.chinese for one in alike):
            return None
        found = Counter(word for one in alike for word in self._alike(one))
        chosen = _most_frequent(found)
        if chosen is None:
            return None
        word, is_clear = chosen
        is_answer = any(one.is_answer for one in alike if word in one.chinese)
        is_sure = is_clear and is_answer and self._is_sure(word)
        return Edit(self.start, self.end, word, is_sure)

    def _alike(self, product: ProductWords) -> Iterator[str]:
        """Yield the product's words that sound the same, and of which not all is written so."""
        for word in product.chinese:
            if len(word) == len(self.text) and self._kept(word) * 2 >= len(word):
                heard = syllables_of(word)
                if heard in (self.syllables, syllables_of(self.text)):
                    yield word

    def _kept(self, word: str) -> int:
        return sum(one == other for one, other in zip(word, self.text, strict=True))

    def _is_sure(self, word: str) -> bool:
        """Return whether it is likelier to be this word, misspelt, than one that nobody knows.

        That is where a word of the dictionary has one other character. No known word may change;
        of two characters that could each stand alone either may be meant.
        """
        kept = [one == other for one, other in zip(word, self.text, strict=True)]
        changed = [self.start + place for place, is_kept in enumerate(kept) if not is_kept]
        words = [range(one.start, one.end) for one in self.tokens if one.is_word]
        is_word_changed = any(place in one for one in words for place in changed)
        is_pair = len(self.tokens) == len(word) == _SHORTEST
        is_near = len(changed) == 1 and not is_word_changed and not is_pair
        return is_near and analysis.is_known(word)


def _sounding(products: Iterable[ProductWords], syllables: Sequence[str]) -> Iterator[ProductWords]:
    """Yield the products that have these syllables one after the other."""
    needed = list(sounds(syllables))
    yield from (one for one in products if all(map(one.has, needed)))


def _most_frequent(found: Counter[str]) -> tuple[str, bool] | None:
    """Return the word that most products have, and whether that is clearly more than the next."""
    if not found:
        return None
    (word, count), *others = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return word, not others or count >= _CLEARLY * others[0][1]


def stretches(text: str, tokens: Sequence[Token]) -> Iterator[Stretch]:
    """Yield what may be misspelt of the tokens of a Chinese piece of a text."""
    if all(one.is_word for one in tokens):
        return
    start = tokens[0].start
    syllables = syllables_of(text[start : tokens[-1].end])
    for first, last in itertools.combinations(range(len(tokens) + 1), 2):
        inside = tuple(tokens[first:last])
        begin, end = inside[0].start, inside[-1].end
        if not _SHORTEST <= end - begin <= _LONGEST or any(one.is_barrier for one in inside):
            continue
        if not all(one.is_word for one in inside):
            yield Stretch(text[begin:end], begin, syllables[begin - start : end - start], inside)


@dataclass(frozen=True)
class Romanised:
    """Words in Latin letters that follow each other and may all be pinyin."""

    words: tuple[RomanisedWord, ...]

    def edits(self, products: Sequence[ProductWords]) -> Iterator[Edit]:
        """Yield the products' words that are written so, each for one word or more, whole."""
        first = 0
        while first < len(self.words):
            for last in range(len(self.words), first, -1):
                inside = self.words[first:last]
                read = _read(tuple(one for word in inside for one in word.syllables), products)
                if read is not None:
                    is_sure = read.is_sure and not all(word.is_english for word in inside)
                    yield Edit(inside[0].start, inside[-1].end, read.text, is_sure)
                    break
            first = last if read is not None else first + 1


class RomanisedWord(NamedTuple):
    """A word that may be pinyin, and where in the text it begins and ends."""

    start: int
    end: int
    syllables: tuple[str, ...]
    is_english: bool


class _Reading(NamedTuple):
    """Chinese words for some syllables, the fewest; of as many, those that most products have."""

    words: int
    rarity: int
    text: str
    is_clear: bool  # whether other words for these syllables are much rarer
    is_head: bool  # whether the last word names a thing, and not only what another is like

    @property
    def is_sure(self) -> bool:
        """Whether these words are meant."""
        return self.is_clear and self.is_head


def _read(syllables: tuple[str, ...], products: Sequence[ProductWords]) -> _Reading | None:
    """Return the syllables in words of the products; None where not all are in one."""
    best: list[_Reading | None] = [_Reading(0, 0, "", is_clear=True, is_head=False)]
    for end in range(1, len(syllables) + 1):
        ways = [
            _Reading(
                before.words + 1,
                before.rarity + word.rarity,
                before.text + word.text,
                before.is_clear and word.is_clear,
                word.is_head,
            )
            for start in range(max(0, end - _LONGEST), end - _SHORTEST + 1)
            if (before := best[start]) is not None
            and (word := _read_word(syllables[start:end], products)) is not None
        ]
        best.append(min(ways, default=None))
    return best[-1]


def _read_word(syllables: tuple[str, ...], products: Sequence[ProductWords]) -> _Reading | None:
    """Return the word that most products have for the syllables; None where none has any."""
    likely = list(_sounding(products, syllables))
    found = Counter(
        word
        for one in likely
        for word in one.chinese
        if len(word) == len(syllables) and syllables_of(word) == syllables
    )
    chosen = _most_frequent(found)
    if chosen is None:
        return None
    word, is_clear = chosen
    is_head = any(one.ends_with(word) for one in likely)
    return _Reading(1, -found[word], word, is_clear, is_head)
