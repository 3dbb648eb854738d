"""Spelling: what a query was probably meant to say, by the words of the products.

Only what neither the dictionary nor the catalog knows may be misspelt: characters that sound like
a product's word, words in pinyin, and words in Latin letters with a typing mistake. What is likely
is corrected; where it is less so, the query stays, and the other is offered.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from product_search.text import analysis
from product_search.text.analysis import Piece, Script
from product_search.text.english import is_english
from product_search.text.homophones import (
    Edit,
    ProductWords,
    Romanised,
    RomanisedWord,
    Stretch,
    Token,
    stretches,
)
from product_search.text.pinyin import initials_term, split_pinyin
from product_search.text.query import QueryText
from product_search.text.synonyms import Synonyms
from product_search.text.typos import find_typo
from product_search.text.vocabulary import Vocabulary

_MOST_CELLS = 12  # a longer query has much to go by, and much that may sound like something
_NUMERALS = frozenset("零〇一二三四五六七八九十百千万亿两半几多")
_OF_PRICES = frozenset("元块角毛钱") | {"以上", "以下", "以内", "之内", "左右", "上下"}
_GAPS = frozenset((" ", "'"))  # between words in pinyin that belong together


class Spelling(NamedTuple):
    """What a query is corrected to, and what is only offered; None where there is no such thing."""

    corrected: str | None = None
    offered: str | None = None


@dataclass(frozen=True)
class Doubts:
    """The parts of a query that may be misspelt."""

    query: QueryText
    folded: str
    typos: Sequence[Edit]
    romanised: Sequence[Romanised]
    stretches: Sequence[Stretch]

    def settle(self, products: Iterable[str]) -> Spelling:
        """Return what was meant, by the terms of the products that have terms of the query."""
        words = [ProductWords(terms, self.query.coverage) for terms in products]
        edits = [*self._typos(words)]
        for run in self.romanised:
            edits += run.edits(words)
        edits += [edit for one in self.stretches if (edit := one.edit(words)) is not None]
        sure = _apart([one for one in edits if one.is_sure])
        corrected = self._edited(sure)
        offered = self._edited(_apart([*sure, *edits]))
        return Spelling(corrected, None if offered == corrected else offered)

    def _typos(self, products: Sequence[ProductWords]) -> Iterator[Edit]:
        """Yield the typos but for words that a product has where the vocabulary does not look."""
        for one in self.typos:
            typed = self.folded[one.start : one.end]
            right = (typed, initials_term(typed))
            if not any(product.has(term) for product in products for term in right):
                yield one

    def _edited(self, edits: Iterable[Edit]) -> str | None:
        """Return the query with these edits; None without any. It keeps its case where it can."""
        plain = self.query.plain
        text = plain if len(plain) == len(self.folded) else self.folded
        ordered = sorted(edits, reverse=True)
        for one in ordered:
            text = text[: one.start] + one.text + text[one.end :]
        return text if ordered else None


def find_doubts(query: QueryText, synonyms: Synonyms, vocabulary: Vocabulary) -> Doubts | None:
    """Return what may be misspelt in a query; None where nothing may.

    In a long query, or in one that must be found as it is quoted, nothing may.
    """
    if len(query.cells) > _MOST_CELLS or query.required:
        return None
    folded = analysis.fold(query.plain)
    pieces = list(_once(analysis.pieces(folded)))
    latin = [one for one in pieces if one.script is Script.latin and not vocabulary.has(one.text)]
    silent = {cell.start for cell in query.cells if not cell.weight}
    tokens = [list(_tokens(one, silent)) for one in pieces if one.script is Script.han]
    if not latin and all(one.is_word or one.is_barrier for of_one in tokens for one in of_one):
        return None
    known = [range(word.start, word.end) for word in synonyms.find(folded)]
    unknown = [one for one in latin if not _is_within(one, known)]
    doubts = Doubts(
        query,
        folded,
        list(_typos(unknown, vocabulary)),
        list(_romanised(unknown, folded)),
        [one for of_one in tokens for one in stretches(folded, _with_synonyms(of_one, known))],
    )
    return doubts if doubts.typos or doubts.romanised or doubts.stretches else None


def _once(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield the pieces but for measures: numbers in characters come twice."""
    for _, same in itertools.groupby(pieces, key=lambda piece: piece.start):
        piece, *others = same
        if not others:
            yield piece


def _is_within(one: Piece | Token, known: Iterable[range]) -> bool:
    return any(word.start <= one.start and one.end <= word.stop for word in known)


def _typos(latin: Iterable[Piece], vocabulary: Vocabulary) -> Iterator[Edit]:
    for piece in latin:
        typo = find_typo(piece.text, vocabulary)
        if typo is not None:
            yield Edit(piece.start, piece.end, typo.text, typo.is_sure)


def _romanised(latin: Iterable[Piece], folded: str) -> Iterator[Romanised]:
    """Yield the runs of words that may be pinyin, of two syllables at least."""
    run: list[RomanisedWord] = []
    for piece in latin:
        syllables = split_pinyin(piece.text) if piece.text.isalpha() else ()
        if run and (not syllables or folded[run[-1].end : piece.start] not in _GAPS):
            yield Romanised(tuple(run))
            run = []
        if syllables:
            run.append(RomanisedWord(piece.start, piece.end, syllables, is_english(piece.text)))
    if sum(len(word.syllables) for word in run) > 1:
        yield Romanised(tuple(run))


def _tokens(piece: Piece, silent: Collection[int]) -> Iterator[Token]:
    for text, first, last in analysis.whole_words(piece.text):
        start, end = piece.start + first, piece.start + last
        is_price = not _NUMERALS.isdisjoint(text) or text in _OF_PRICES
        is_barrier = is_price or all(place in silent for place in range(start, end))
        yield Token(start, end, len(text) > 1 and analysis.is_known(text), is_barrier)


def _with_synonyms(tokens: Iterable[Token], known: Sequence[range]) -> list[Token]:
    """Return the tokens; those are words too of which the operator's synonyms know."""
    return [one._replace(is_word=one.is_word or _is_within(one, known)) for one in tokens]


def _apart(edits: Iterable[Edit]) -> list[Edit]:
    """Return those that touch no other before them: sure ones come first, then longer ones."""
    kept: list[Edit] = []
    for one in sorted(edits, key=lambda edit: (not edit.is_sure, edit.start - edit.end, edit)):
        if all(one.end <= other.start or other.end <= one.start for other in kept):
            kept.append(one)
    return kept
