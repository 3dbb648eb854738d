"""Text queries: the terms to look for, and how much of the query a product covers."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from product_search.text import analysis
from product_search.text.analysis import Piece, Script
from product_search.text.synonyms import Synonyms

# Stop words: a product that has only these in common with a query has nothing in common.
_STOP_WORDS = frozenset(
    "的得地了着过吗呢吧啊呀哦嘛和与或是在有把被给对从为以及之其这那个我你他它们很最都也就还要不没无用能可会让"
) | {"不是", "没有", "可以", "什么", "东西", "适合", "不要", "一个", "那种", "这种", "需要", "想要"}
# What a match is worth for the characters that it covers.
_WORD, _SYNONYM, SOUND, _PART = 1.0, 0.9, 0.8, 0.5
_WITHIN = 0.6  # for a word of a longer one: a train is not yet a train ticket
_OTHER_WORD = 0.3  # for a word that means something as it is written
_NEGATION = re.compile(
    r"(?:不要|不是|不含|不带|没有|除了)([^\s,.;、，。；的]{1,8}?)"
    r"(?:以外的?|之外的?|的|(?=[\s,.;、，。；])|$)"
)
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

    @property
    def is_phrase(self) -> bool:
        """Whether the query says more than names: phrases are less near to what they mean."""
        return any(not cell.weight for cell in self.cells)

    @property
    def words(self) -> list[range]:
        """The cells of each word of the dictionary that has more than one character."""
        return [
            span.cells
            for span in self.spans
            if len(span.cells) > 1 and any(map(analysis.is_known, span.terms))
        ]

    @property
    def terms(self) -> str:
        """The terms for BM25, parted by spaces; empty where the query has only stop words."""
        said = [span for span in self.spans if any(self.cells[cell].weight for cell in span.cells)]
        return " ".join(dict.fromkeys(term for span in said for term in sorted(span.terms)))

    def coverage(self, terms: Collection[str]) -> float:
        """Return the share of the query, from 0 to 1, that a product with these terms covers."""
        whole = math.fsum(cell.weight for cell in self.cells)
        if not whole:
            return 0.0
        credits = self.credits(terms)
        had = (cell.weight * credit for cell, credit in zip(self.cells, credits, strict=True))
        return math.fsum(had) / whole

    def credits(self, terms: Collection[str]) -> list[float]:
        """Return how well, from 0 to 1, a product with these terms covers each cell."""
        credits = [0.0] * len(self.cells)
        for span in self.spans:
            if span.terms.issubset(terms):
                for cell in span.cells:
                    credits[cell] = max(credits[cell], span.credit)
        return credits


def without_negations(text: str) -> tuple[str, list[str]]:
    """Split a text into what it wants and what it does not: 鼠标 不要无线的 is 鼠标, not 无线.

    A text that only says what it does not want is left as it is.
    """
    plain = analysis.plain(text)
    unwanted = [found[1] for found in _NEGATION.finditer(plain)]
    wanted = " ".join(_NEGATION.sub(" ", plain).split())
    return (wanted, unwanted) if wanted else (plain, [])


def analyse(text: str, synonyms: Synonyms) -> QueryText:
    """Return the text in cells, with all that covers some of them."""
    folded = analysis.fold(text)
    cells = _CellBuilder()
    for piece in analysis.pieces(folded):
        cells.add(piece)
    cells.join_pinyin(folded)
    for word in synonyms.find(folded):
        covered = cells.between(word.start, word.end)
        for synonym in word.synonyms:
            terms = _silent_terms(synonym)
            if terms:
                cells.spans.append(Span(terms, covered, _SYNONYM))
    return QueryText(analysis.plain(text), tuple(cells.cells), tuple(cells.spans))


@lru_cache(maxsize=4096)
def _silent_terms(synonym: str) -> frozenset[str]:
    """Return the synonym's terms but for how it sounds."""
    return frozenset(term for term in analysis.terms(synonym) if not term.startswith("~"))


class _CellBuilder:
    """Collects the cells of a query and the spans that cover them."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.spans: list[Span] = []

    def add(self, piece: Piece) -> None:
        """Add the piece's cells; a second piece at the same place covers the cells of the first."""
        if piece.script is Script.han:
            self._add_han(piece)
        else:
            self._add_latin(piece)

    def between(self, start: int, end: int) -> range:
        """Return the cells that begin in this part of the text."""
        inside = [place for place, cell in enumerate(self.cells) if start <= cell.start < end]
        return range(inside[0], inside[-1] + 1) if inside else range(0)

    def join_pinyin(self, text: str) -> None:
        """Add the sounds that two words in pinyin make together: lanya erji has ya.er too."""
        for place, (one, other) in enumerate(itertools.pairwise(self.cells)):
            between = text[one.start + len(one.text) : other.start]
            both = (one.syllable, other.syllable)
            if between in (" ", "'") and all(cell.text == cell.syllable for cell in (one, other)):
                self._cover(analysis.sounds(filter(None, both)), range(place, place + 2), SOUND)

    def _add_han(self, piece: Piece) -> None:
        found = analysis.words(piece.text)
        said = {cell for word, *ends in found if word not in _STOP_WORDS for cell in range(*ends)}
        syllables = analysis.syllables_of(piece.text)
        first = len(self.cells)
        self.cells += [
            Cell(char, piece.start + place, syllable, float(place in said))
            for place, (char, syllable) in enumerate(zip(piece.text, syllables, strict=True))
        ]
        places = [range(start, end) for _, start, end in found]
        for (word, start, end), place in zip(found, places, strict=True):
            is_within = any(set(place) < set(other) for other in places)
            cells = range(first + start, first + end)
            self._cover([word], cells, _WITHIN if is_within else _WORD)
        known = [range(*ends) for word, *ends in found if analysis.is_known(word)]
        self._cover_sounds(first, syllables, known)

    def _add_latin(self, piece: Piece) -> None:
        syllables = analysis.split_pinyin(piece.text) if piece.text.isalpha() else ()
        places = self.between(piece.start, piece.end)
        if not places:
            first = len(self.cells)
            self.cells += _latin_cells(piece, syllables)
            self._cover_sounds(first, syllables)
            places = range(first, len(self.cells))
        whole, *parts = analysis.latin_terms(piece.text)
        self._cover([whole], places, _WORD)
        for part in parts:
            self._cover([part], places, _PART)

    def _cover_sounds(
        self, first: int, syllables: Sequence[str], words: Sequence[range] = ()
    ) -> None:
        for place, sound in enumerate(analysis.sounds(syllables)):
            is_word = any(place in word and place + 1 in word for word in words)
            pair = range(first + place, first + place + 2)
            self._cover([sound], pair, _OTHER_WORD if is_word else SOUND)

    def _cover(self, terms: Iterable[str], places: range, credit: float) -> None:
        self.spans.append(Span(frozenset(terms), places, credit))


def _latin_cells(piece: Piece, syllables: Sequence[str]) -> list[Cell]:
    """Return a cell for each syllable of what may be pinyin, else one for the whole piece."""
    if not syllables:
        return [Cell(piece.text, piece.start, None, _NUMBER_WEIGHT)]
    starts = itertools.accumulate(map(len, syllables), initial=piece.start)
    return [Cell(one, start, one, 1.0) for one, start in zip(syllables, starts, strict=False)]
