"""Text queries: the terms to look for, and how much of the query a product covers."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from product_search.text import analysis, document, pinyin
from product_search.text.analysis import Piece, Script
from product_search.text.negation import absences
from product_search.text.synonyms import Synonyms

# Stop words: a product that has only these in common with a query has nothing in common.
_STOP_WORDS = frozenset(
    "的得地了着过吗呢吧啊呀哦嘛和与或是在有把被给对从为以及之其这那个我你他它们很最都也就还要不没无用能可会让"
) | {"不是", "没有", "可以", "什么", "东西", "适合", "不要", "一个", "那种", "这种", "需要", "想要"}
_STOP_WORDS |= {"货号", "型号", "编号"}  # say only that a code follows
_THINGS_AT_END = frozenset("被")  # 儿童被 is a quilt
_LETTERS_OR_DIGITS = re.compile("[a-z]+|[0-9]+")
# What a match is worth for the characters that it covers.
_WORD, _SYNONYM, SOUND, _PART = 1.0, 0.9, 0.8, 0.5
_WITHIN = 0.6  # for a word of a longer one: a train is not yet a train ticket
_OTHER_WORD = 0.3  # for a word that means something as it is written
_TYPED, _TYPED_SHORT = 0.7, 0.5  # for initials, of three characters or more, and of two
_OTHER_READING = 0.9  # for 16 grams where memory is likelier meant
_AS_ONE = 0.95  # for words written as one, or one as several
_LAST, _OF_KIND = 0.8, 0.7  # for 自行车 where 车 is asked for, and for 巴士
_BEGINNING, _END = 0.85, 0.75  # for a code's
_SILENT = 0.6  # of the coverage, where a product does not say that it has not what is unwanted
_NUMBER_WEIGHT = 2.0  # of a word or number in Latin letters, in characters


class Span(NamedTuple):
    """Cells of a query, the terms that a product must have to cover them, and with what credit."""

    terms: frozenset[str]
    cells: range
    credit: float


class Cell(NamedTuple):
    """A Chinese character, a syllable of pinyin, or a word or number in Latin letters."""

    text: str
    start: int  # in the folded query
    syllable: str | None  # how it sounds, of characters and pinyin
    weight: float  # how much it has to say


@dataclass(frozen=True)
class QueryText:
    """A text query: as encoders are given it, in cells, and what covers these."""

    plain: str
    cells: tuple[Cell, ...]
    spans: tuple[Span, ...]
    absent: frozenset[str] = frozenset()  # terms of products that say not to have the unwanted
    required: frozenset[str] = frozenset()  # terms that a product must have

    @property
    def asked(self) -> frozenset[str]:
        """All terms of products that say anything of the query."""
        return self.absent.union(self.required, *(span.terms for span in self.spans))

    @property
    def terms(self) -> str:
        """The terms for BM25, parted by spaces; empty where the query has only stop words."""
        said = [span for span in self.spans if any(self.cells[cell].weight for cell in span.cells)]
        found = dict.fromkeys(term for span in said for term in sorted(span.terms))
        return " ".join([*found, *sorted(self.absent)] if found else [])

    @cached_property
    def _weights(self) -> list[float]:
        return [cell.weight for cell in self.cells]

    def coverage(self, terms: Set[str]) -> float:
        """Return the share of the query, from 0 to 1, that a product with these terms covers."""
        whole = sum(self._weights)
        if not whole:
            return 0.0
        had = zip(self._weights, self.credits(terms), strict=True)
        share = sum(weight * credit for weight, credit in had) / whole
        return share if self.absent.issubset(terms) else _SILENT * share

    def credits(self, terms: Set[str]) -> list[float]:
        """Return how well, from 0 to 1, a product with these terms covers each cell."""
        credits = [0.0] * len(self.cells)
        by_term, of_several = self._spans
        had = [span for term in by_term.keys() & terms for span in by_term[term]]
        had += [span for span in of_several if span.terms.issubset(terms)]
        for span in had:
            for cell in span.cells:
                if span.credit > credits[cell]:
                    credits[cell] = span.credit
        return credits

    @cached_property
    def _spans(self) -> tuple[Mapping[str, list[Span]], list[Span]]:
        """The spans of one term, by it, and those of several: products have few of a query's."""
        by_term: dict[str, list[Span]] = {}
        for span in self.spans:
            if len(span.terms) == 1:
                by_term.setdefault(next(iter(span.terms)), []).append(span)
        return by_term, [span for span in self.spans if len(span.terms) > 1]


def analyse(
    text: str, synonyms: Synonyms, absent: Sequence[str] = (), quoted: Sequence[str] = ()
) -> QueryText:
    """Return the text in cells, with all that covers some of them.

    Products that say not to have what is `absent` are preferred; what is `quoted` must be in all.
    """
    folded = analysis.fold(text)
    cells = _CellBuilder(folded)
    for piece in analysis.pieces(folded):
        cells.add(piece)
    cells.join_neighbours()
    for one in absences(folded):
        cells.cover([document.absent_term(one.what)], cells.between(one.start, one.end), _WORD)
    for word in synonyms.find(folded):
        covered = cells.between(word.start, word.end)
        for synonym in word.synonyms:
            terms = _silent_terms(synonym)
            if terms:
                cells.spans.append(Span(terms, covered, _SYNONYM))
    if len(cells.cells) == 1:
        for other in synonyms.of_kind(folded):
            cells.cover(_silent_terms(other), range(1), _OF_KIND)
    return QueryText(
        plain=analysis.plain(text),
        cells=tuple(cells.cells),
        spans=tuple(cells.spans),
        absent=frozenset(map(document.absent_term, absent)),
        required=frozenset(term for one in quoted for term in _together(one)),
    )


def _together(quoted: str) -> Iterator[str]:
    """Yield the terms of a product that has the text as it is, word by word."""
    folded = analysis.fold(quoted)
    found = list(analysis.pieces(folded))
    for piece in found:
        if piece.script is Script.latin:
            yield analysis.latin_terms(piece.text).whole
            continue
        if len(piece.text) == 1:
            yield piece.text
        yield from pinyin.sounds(pinyin.syllables_of(piece.text))
    for one, other in itertools.pairwise(found):
        if document.is_written_as_one(folded, one, other):
            yield analysis.joined(one.text) + analysis.joined(other.text)


@lru_cache(maxsize=4096)
def _silent_terms(synonym: str) -> frozenset[str]:
    """Return the synonym's terms but for how it sounds."""
    return frozenset(term for term in analysis.terms(synonym) if not term.startswith("~"))


class _CellBuilder:
    """Collects the cells of a query and the spans that cover them."""

    def __init__(self, folded: str) -> None:
        self.cells: list[Cell] = []
        self.spans: list[Span] = []
        self._starts: list[int] = []  # of the cells, which come in the order of the text
        self._folded = folded
        self._latin: list[tuple[Piece, range]] = []  # with their cells

    def add(self, piece: Piece) -> None:
        """Add the piece's cells; a second piece at the same place covers the cells of the first."""
        if piece.script is Script.han:
            self._add_han(piece)
        else:
            self._add_latin(piece)

    def between(self, start: int, end: int) -> range:
        """Return the cells that begin in this part of the text."""
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        return range(first, last) if first < last else range(0)

    def cover(self, terms: Iterable[str], places: range, credit: float) -> None:
        """Add what a product must have, all of it, to cover these cells."""
        self.spans.append(Span(frozenset(terms), places, credit))

    def join_neighbours(self) -> None:
        """Add what neighbours make together: lanya erji has ya.er too, red bull is redbull."""
        for place, (one, other) in enumerate(itertools.pairwise(self.cells)):
            between = self._folded[one.start + len(one.text) : other.start]
            both = (one.syllable, other.syllable)
            if between in (" ", "'") and all(cell.text == cell.syllable for cell in (one, other)):
                self.cover(pinyin.sounds(filter(None, both)), range(place, place + 2), SOUND)
        for (first, places), (second, others) in itertools.pairwise(self._latin):
            if document.is_written_as_one(self._folded, first, second):
                both_joined = analysis.joined(first.text) + analysis.joined(second.text)
                self.cover([both_joined], range(places.start, others.stop), _AS_ONE)
        self._cover_initials()
        self._cover_code_in_parts()

    def _cover_initials(self) -> None:
        """Add what may be typed for Chinese words; two letters alone are typed for too many."""
        shortest = 2 if len(self._latin) > 1 else 3
        for piece, places in self._latin:
            if piece.text.isalpha() and shortest <= len(piece.text) <= pinyin.MOST_INITIALS:
                credit = _TYPED if len(piece.text) > 2 else _TYPED_SHORT
                self.cover([pinyin.initials_term(piece.text)], places, credit)
        for (first, places), (second, others) in itertools.pairwise(self._latin):
            both = first.text + second.text
            if both.isalpha() and len(both) <= pinyin.MOST_INITIALS:
                whole = range(places.start, others.stop)
                self.cover([pinyin.initials_term(both)], whole, _TYPED)

    def _cover_code_in_parts(self) -> None:
        """Add the code that a query writes in several parts and nothing else: HB 8 220."""
        if len(self._latin) < 2 or self._latin[-1][1].stop != len(self.cells):
            return
        whole = document.bare("".join(piece.text for piece, _ in self._latin))
        first = self._latin[0][1]
        if first.start == 0 and any(map(str.isdigit, whole)):
            self.cover([whole], range(len(self.cells)), _AS_ONE)

    def _add_han(self, piece: Piece) -> None:
        found = analysis.words(piece.text)
        last = len(piece.text)
        said = {
            cell
            for word, start, end in found
            if word not in _STOP_WORDS or (word in _THINGS_AT_END and end == last)
            for cell in range(start, end)
        }
        syllables = pinyin.syllables_of(piece.text)
        first = self._add_cells(
            Cell(char, piece.start + place, syllable, float(place in said))
            for place, (char, syllable) in enumerate(zip(piece.text, syllables, strict=True))
        )
        within = _within_others((start, end) for _, start, end in found)
        for word, start, end in found:
            is_within = (start, end) in within
            cells = range(first + start, first + end)
            self.cover([word], cells, _WITHIN if is_within else _WORD)
            if len(word) == 1 and not is_within:
                self.cover([document.last_character(word)], cells, _LAST)
        known = [range(*ends) for word, *ends in found if analysis.is_known(word)]
        self._cover_sounds(first, syllables, known)

    def _add_cells(self, cells: Iterable[Cell]) -> int:
        """Add the cells, which come after all others in the text; return the first one's place."""
        first = len(self.cells)
        self.cells += cells
        self._starts += [cell.start for cell in self.cells[first:]]
        return first

    def _add_latin(self, piece: Piece) -> None:
        syllables = pinyin.split_pinyin(piece.text) if piece.text.isalpha() else ()
        places = self.between(piece.start, piece.end)
        if not places:
            first = self._add_cells(_latin_cells(piece, syllables))
            self._cover_sounds(first, syllables)
            places = range(first, len(self.cells))
            self._latin.append((piece, places))
        found = analysis.latin_terms(piece.text)
        self.cover([found.whole], places, _WORD)
        for other in found.others:
            self.cover([other], places, _OTHER_READING)
        for part in found.parts:
            self.cover([part], places, _PART)
        if document.is_code(piece.text) or piece.text.isdecimal() or found.parts:
            self._cover_code(piece.text, found.whole, places)

    def _cover_code(self, text: str, whole: str, places: range) -> None:
        parts = _LETTERS_OR_DIGITS.findall(text)
        if len(parts) > 1:
            self.cover(parts, places, _AS_ONE)
        if len(whole) >= document.SHORTEST_EDGE:
            self.cover([document.beginning(whole)], places, _BEGINNING)
            self.cover([document.end(whole)], places, _END)

    def _cover_sounds(
        self, first: int, syllables: Sequence[str], words: Sequence[range] = ()
    ) -> None:
        in_words = {place for word in words for place in word[:-1]}  # and so is the next
        for place, sound in enumerate(pinyin.sounds(syllables)):
            pair = range(first + place, first + place + 2)
            self.cover([sound], pair, _OTHER_WORD if place in in_words else SOUND)


def _within_others(words: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return those words, by start and end, that are parts of longer ones."""
    within = set()
    furthest = 0
    for start, end in sorted(set(words), key=lambda word: (word[0], -word[1])):
        if end <= furthest:
            within.add((start, end))
        furthest = max(furthest, end)
    return within


def _latin_cells(piece: Piece, syllables: Sequence[str]) -> list[Cell]:
    """Return a cell for each syllable of what may be pinyin, else one for the whole piece."""
    if not syllables:
        return [Cell(piece.text, piece.start, None, _NUMBER_WEIGHT)]
    starts = itertools.accumulate(map(len, syllables), initial=piece.start)
    return [Cell(one, start, one, 1.0) for one, start in zip(syllables, starts, strict=False)]
