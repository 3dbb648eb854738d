"""What is known of a query's words: the terms to look for, and how much of it a product covers."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from product_search.text import analysis as texts
from product_search.text.analysis import Kind, Piece
from product_search.text.synonyms import Synonyms

# Words that ask for nothing: a product that has only these in common has nothing in common.
_EMPTY = frozenset(
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
    """A product that has all the terms covers these cells of the query, with this credit."""

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
    """A text query: as encoders are given it, and by its cells."""

    plain: str
    cells: tuple[Cell, ...]
    spans: tuple[Span, ...]

    @property
    def is_phrase(self) -> bool:
        """Whether it says more than names: phrases are less near to what they mean."""
        return any(not cell.weight for cell in self.cells)

    @property
    def words(self) -> list[range]:
        """Where words of the dictionary of more than one character are."""
        return [
            span.cells
            for span in self.spans
            if len(span.cells) > 1 and any(map(texts.is_known, span.terms))
        ]

    @property
    def terms(self) -> str:
        """What BM25 looks for; empty where the query has nothing to say."""
        said = [span for span in self.spans if any(self.cells[cell].weight for cell in span.cells)]
        return " ".join(dict.fromkeys(term for span in said for term in sorted(span.terms)))

    def coverage(self, terms: Collection[str]) -> float:
        """The share of the query, from 0 to 1, that a product with these terms has."""
        whole = math.fsum(cell.weight for cell in self.cells)
        if not whole:
            return 0.0
        credits = self.credits(terms)
        had = (cell.weight * credit for cell, credit in zip(self.cells, credits, strict=True))
        return math.fsum(had) / whole

    def credits(self, terms: Collection[str]) -> list[float]:
        """How well a product with these terms covers each cell, from 0 to 1."""
        credits = [0.0] * len(self.cells)
        for span in self.spans:
            if span.terms.issubset(terms):
                for cell in span.cells:
                    credits[cell] = max(credits[cell], span.credit)
        return credits


def without_negations(text: str) -> tuple[str, list[str]]:
    """What a text wants, and what it says that it does not: 鼠标 不要无线的 is 鼠标, not 无线.

    A text that is nothing but that is left as it is.
    """
    plain = texts.plain(text)
    unwanted = [found[1] for found in _NEGATION.finditer(plain)]
    wanted = " ".join(_NEGATION.sub(" ", plain).split())
    return (wanted, unwanted) if wanted else (plain, [])


def analyse(text: str, synonyms: Synonyms) -> QueryText:
    """The query's cells and everything that covers some of them."""
    folded = texts.folded(text)
    cells = _Cells()
    for piece in texts.pieces(folded):
        cells.add(piece)
    cells.join_romanised(folded)
    for found in synonyms.found(folded):
        covered = cells.between(found.start, found.end)
        for other in found.others:
            terms = frozenset(term for term in texts.terms(other) if not term.startswith("~"))
            if terms:
                cells.spans.append(Span(terms, covered, _SYNONYM))
    return QueryText(texts.plain(text), tuple(cells.cells), tuple(cells.spans))


class _Cells:
    """The cells as they are found, and what covers them."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.spans: list[Span] = []

    def add(self, piece: Piece) -> None:
        """The piece's cells; a second piece at the same place covers the cells of the first."""
        if piece.kind is Kind.han:
            self._add_han(piece)
        else:
            self._add_latin(piece)

    def between(self, start: int, end: int) -> range:
        """The cells that begin in this part of the text."""
        inside = [place for place, cell in enumerate(self.cells) if start <= cell.start < end]
        return range(inside[0], inside[-1] + 1) if inside else range(0)

    def join_romanised(self, text: str) -> None:
        """Sounds that two romanised words make together: lanya erji has ya.er too."""
        for place, (one, other) in enumerate(itertools.pairwise(self.cells)):
            between = text[one.start + len(one.text) : other.start]
            both = (one.syllable, other.syllable)
            if between in (" ", "'") and all(cell.text == cell.syllable for cell in (one, other)):
                self._cover(texts.sounds(filter(None, both)), range(place, place + 2), SOUND)

    def _add_han(self, piece: Piece) -> None:
        found = texts.words(piece.text)
        said = {cell for word, *ends in found if word not in _EMPTY for cell in range(*ends)}
        syllables = texts.syllables_of(piece.text)
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
        known = [range(*ends) for word, *ends in found if texts.is_known(word)]
        self._cover_sounds(first, syllables, known)

    def _add_latin(self, piece: Piece) -> None:
        syllables = texts.romanised(piece.text) if piece.text.isalpha() else ()
        places = self.between(piece.start, piece.end)
        if not places:
            first = len(self.cells)
            self.cells += _latin_cells(piece, syllables)
            self._cover_sounds(first, syllables)
            places = range(first, len(self.cells))
        whole, *parts = texts.latin_terms(piece.text)
        self._cover([whole], places, _WORD)
        for part in parts:
            self._cover([part], places, _PART)

    def _cover_sounds(
        self, first: int, syllables: Sequence[str], words: Sequence[range] = ()
    ) -> None:
        for place, sound in enumerate(texts.sounds(syllables)):
            is_word = any(place in word and place + 1 in word for word in words)
            pair = range(first + place, first + place + 2)
            self._cover([sound], pair, _OTHER_WORD if is_word else SOUND)

    def _cover(self, terms: Iterable[str], places: range, credit: float) -> None:
        self.spans.append(Span(frozenset(terms), places, credit))


def _latin_cells(piece: Piece, syllables: Sequence[str]) -> list[Cell]:
    """A cell for each syllable of what may be pinyin, else one for all."""
    if not syllables:
        return [Cell(piece.text, piece.start, None, _NUMBER_WEIGHT)]
    starts = itertools.accumulate(map(len, syllables), initial=piece.start)
    return [Cell(one, start, one, 1.0) for one, start in zip(syllables, starts, strict=False)]
