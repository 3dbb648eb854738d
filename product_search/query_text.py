"""What is known of a query's words: the terms to look for, and how much of it a product covers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from product_search import text as texts
from product_search.synonyms import Synonyms
from product_search.text import Kind, Piece

# Words that ask for nothing: a product that has only these in common has nothing in common.
_EMPTY = frozenset(
    "的得地了着过吗呢吧啊呀哦嘛和与或是在有把被给对从为以及之其这那个我你他它们很最都也就还要不没无用能可会让"
) | {"不是", "没有", "可以", "什么", "东西", "适合", "不要", "一个", "那种", "这种", "需要", "想要"}
# What a match is worth for the characters that it covers.
_WORD, _SYNONYM, _SOUND, _PART = 1.0, 0.9, 0.8, 0.5
_NUMBER_WEIGHT = 2.0  # of a word or number in Latin letters, in characters


class Span(NamedTuple):
    """A product that has all the terms covers these cells of the query, with this credit."""

    terms: frozenset[str]
    cells: range
    credit: float


@dataclass(frozen=True)
class QueryText:
    """A text query: as encoders are given it, and by its cells.

    A cell is a Chinese character, a syllable of pinyin, or a word or number in Latin letters;
    `weights` says how much each has to say.
    """

    plain: str
    weights: tuple[float, ...]
    spans: tuple[Span, ...]

    @property
    def terms(self) -> str:
        """What BM25 looks for; empty where the query has nothing to say."""
        said = [span for span in self.spans if any(self.weights[cell] for cell in span.cells)]
        return " ".join(dict.fromkeys(term for span in said for term in sorted(span.terms)))

    def coverage(self, terms: Collection[str]) -> float:
        """The share of the query, from 0 to 1, that a product with these terms has."""
        whole = math.fsum(self.weights)
        if not whole:
            return 0.0
        credits = [0.0] * len(self.weights)
        for span in self.spans:
            if span.terms.issubset(terms):
                for cell in span.cells:
                    credits[cell] = max(credits[cell], span.credit)
        return math.fsum(map(float.__mul__, self.weights, credits)) / whole


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
    return QueryText(texts.plain(text), tuple(cells.weights), tuple(cells.spans))


class _Cells:
    """The cells as they are found, and where in the text each begins."""

    def __init__(self) -> None:
        self.weights: list[float] = []
        self.spans: list[Span] = []
        self._starts: list[int] = []
        self._syllables: list[tuple[int, int, str]] = []  # cell, end in the text, syllable

    def add(self, piece: Piece) -> None:
        """The piece's cells; a second piece at the same place covers the cells of the first."""
        if piece.kind is Kind.han:
            self._add_han(piece)
        else:
            self._add_latin(piece)

    def between(self, start: int, end: int) -> range:
        """The cells that begin in this part of the text."""
        inside = [cell for cell, at in enumerate(self._starts) if start <= at < end]
        return range(inside[0], inside[-1] + 1) if inside else range(0)

    def join_romanised(self, text: str) -> None:
        """Sounds that two romanised words make together: lanya erji has ya.er too."""
        for (cell, end, one), (other, _, two) in itertools.pairwise(self._syllables):
            if other == cell + 1 and text[end : end + 1] in (" ", "'"):
                self._cover(texts.sounds([one, two]), range(cell, other + 1), _SOUND)

    def _add_han(self, piece: Piece) -> None:
        found = texts.words(piece.text)
        said = {cell for word, *ends in found if word not in _EMPTY for cell in range(*ends)}
        first = self._open(piece, [float(cell in said) for cell in range(len(piece.text))])
        for word, start, end in found:
            self._cover([word], range(first + start, first + end), _WORD)
        for place, sound in enumerate(texts.sounds(texts.syllables_of(piece.text))):
            self._cover([sound], range(first + place, first + place + 2), _SOUND)

    def _add_latin(self, piece: Piece) -> None:
        syllables = texts.romanised(piece.text) if piece.text.isalpha() else ()
        first = self._open(piece, [1.0] * len(syllables) or [_NUMBER_WEIGHT])
        for place, sound in enumerate(texts.sounds(syllables)):
            self._cover([sound], range(first + place, first + place + 2), _SOUND)
        cells = range(first, len(self.weights))
        whole, *parts = texts.latin_terms(piece.text)
        self._cover([whole], cells, _WORD)
        for part in parts:
            self._cover([part], cells, _PART)
        ends = [piece.end if cell == cells[-1] else -1 for cell in cells]
        self._syllables += list(zip(cells, ends, syllables, strict=False))

    def _open(self, piece: Piece, weights: list[float]) -> int:
        """The number of the piece's first cell."""
        if piece.start in self._starts:
            return self._starts.index(piece.start)
        first = len(self.weights)
        self.weights += weights
        self._starts += _starts_of(piece, len(weights))
        return first

    def _cover(self, terms: Iterable[str], cells: range, credit: float) -> None:
        self.spans.append(Span(frozenset(terms), cells, credit))


def _starts_of(piece: Piece, count: int) -> list[int]:
    """Of characters each its own; of syllables the word's first letter, which is enough."""
    if piece.kind is Kind.han:
        return list(range(piece.start, piece.end))
    return [piece.start] * count
