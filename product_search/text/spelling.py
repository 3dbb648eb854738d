"""Spelling: what a query in pinyin or with wrong homophones meant, by the products' own words."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence

from product_search.text import analysis, pinyin
from product_search.text.query import SOUND, Cell, QueryText

_LOOKED_AT = 10  # products


def is_doubtful(query: QueryText) -> bool:
    """Return whether part of the query may be misspelt: pinyin, or characters that are no word."""
    in_words = {place for word in query.words for place in word}
    odd = [
        cell.syllable is not None and cell.weight > 0 and place not in in_words
        for place, cell in enumerate(query.cells)
    ]
    return any(odd) and len(odd) > 1


def correct(query: QueryText, products: Iterable[Collection[str]]) -> str | None:
    """Return the query with the products' words that sound like it; None where nothing changes.

    `products` has the terms of the products that cover most of the query, the best first. What
    one of them has as the query writes it is right; what they have only by its sound is written
    as they write it.
    """
    likely = list(itertools.islice(products, _LOOKED_AT))
    if not likely:
        return None
    credits = [max(column) for column in zip(*map(query.credits, likely), strict=True)]
    doubtful = {place for place, credit in enumerate(credits) if 0 < credit <= SOUND}
    written = [cell.text for cell in query.cells]
    for word in (word for terms in likely for word in sorted(terms, key=len, reverse=True)):
        place = _sounding_like(word, query, doubtful)
        if place is not None:
            written[place : place + len(word)] = word
            doubtful -= set(range(place, place + len(word)))
    return _join(query.cells, written) if written != [c.text for c in query.cells] else None


def _sounding_like(word: str, query: QueryText, doubtful: set[int]) -> int | None:
    """Return the first cell where the query sounds like the Chinese word; None where it does not.

    Some of these cells must be doubtful, and none may be of another word of the query, unless the
    word sounds like the whole query.
    """
    cells = query.cells
    if not doubtful or not analysis.is_han(word) or not 2 <= len(word) <= len(cells):
        return None
    heard = list(pinyin.syllables_of(word))
    for place in range(len(cells) - len(word) + 1):
        part = range(place, place + len(word))
        if [cells[one].syllable for one in part] != heard or doubtful.isdisjoint(part):
            continue
        if len(part) == len(cells) or not any(set(part) >= set(other) for other in query.words):
            return place
    return None


def _join(cells: Sequence[Cell], written: Sequence[str]) -> str:
    """Join the cells into a text, with a space between Latin words."""
    joined = ""
    for cell, text in zip(cells, written, strict=True):
        is_apart = joined and joined[-1].isascii() and text.isascii() and cell.syllable is None
        joined += f" {text}" if is_apart else text
    return joined
