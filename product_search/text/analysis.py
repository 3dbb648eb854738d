"""The normalisation that indexing and search share: plain text for encoders, terms for BM25.

Terms are parted by spaces, so that every Milvus takes them as they are: words by a dictionary,
measures in one unit, model numbers whole, and pairs of pinyin syllables, which wrong homophones
and romanised queries have in common with what was meant. What a document has beside these, a query
asks for in a way of its own: a term's first character says which (`document` has all of them).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

import opencc
import rjieba

from product_search.text.measures import (
    COUNTED,
    LENGTH,
    MEASURE,
    SHADE,
    SIDES,
    in_digits,
    length_in_metres,
    measures,
    sides,
)
from product_search.text.pinyin import sounds, syllables_of

HAN = r"\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"  # Chinese characters, in a set
_EMOJI = r"\u221e\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
_PIECES = re.compile(
    rf"(?P<length>{LENGTH})|(?P<sides>{SIDES})|(?P<measure>{MEASURE})|(?P<counted>{COUNTED})"
    rf"|(?P<shade>{SHADE})"
    r"|(?P<signed>[a-z](?:\+\+|#)(?![a-z0-9]))"  # C++, C#
    r"|(?P<latin>[a-z0-9]+(?:[-*×/._+#][a-z0-9]+)*)"
    rf"|(?P<han>[{HAN}]+)"
    rf"|(?P<emoji>[{_EMOJI}])"
    rf"|(?P<other>(?:(?![a-z0-9{HAN}])[^\W_])+)"  # a word in another script
)
_ACCENTED = re.compile("([a-z])[\u0300-\u036f]+")
# Letters that Unicode does not take apart into one of a to z and an accent.
_OF_OTHER_ALPHABETS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
)
_ALL_HAN = re.compile(rf"[{HAN}]+")
_SEPARATORS = re.compile(r"[-*×/._+#]")
# Between digits these say something: 1.5 is not 15, and M6×20 not M620.
_KEPT = re.compile(r"(?<=\d)[./](?=\d)|(?<=[a-z\d])[*×](?=\d)")
_NOT_KEPT = re.compile(r"[-_+#]|(?<!\d)[./]|[./](?!\d)|(?<![a-z\d])[*×]|[*×](?!\d)")


def plain(text: str) -> str:
    """Return the text as encoders are given it: NFKC, simplified characters, single spaces."""
    return " ".join(_simplified(unicodedata.normalize("NFKC", text)).split())


def fold(text: str) -> str:
    """Return the plain text in lower case, its Latin letters without accents."""
    lower = plain(text).lower()
    if lower.isascii():
        return lower
    apart = unicodedata.normalize("NFD", lower.translate(_OF_OTHER_ALPHABETS))
    return unicodedata.normalize("NFC", _ACCENTED.sub(r"\1", apart))


def terms(text: str) -> Iterator[str]:
    """Yield the terms of the text, in its order."""
    for piece in pieces(fold(text)):
        if piece.script is Script.han:
            yield from (word for word, _, _ in words(piece.text))
            yield from sounds(syllables_of(piece.text))
        else:
            found = latin_terms(piece.text)
            yield from (found.whole, *found.others, *found.parts)


class Script(Enum):
    """The script of a piece of text."""

    han = "han"
    latin = "latin"  # a word, a model number, or a measure, whose unit may be a Chinese one


class Piece(NamedTuple):
    """A piece of a folded text, and where in the text it begins and ends."""

    script: Script
    text: str
    start: int
    end: int


def pieces(text: str) -> Iterator[Piece]:
    """Yield the pieces of a folded text, in its order; what is between them is left out.

    A number in characters with its unit (三吨) comes twice: as it is, and as a measure (3吨).
    """
    for found in _PIECES.finditer(text):
        piece, start, end = found.group(), found.start(), found.end()
        kind = found.lastgroup
        if kind == "length":
            yield Piece(Script.latin, length_in_metres(piece), start, end)
            continue
        is_han = kind in ("counted", "han")
        yield Piece(Script.han if is_han else Script.latin, piece, start, end)
        measure = in_digits(piece) if kind == "counted" else None
        if measure is not None:
            yield Piece(Script.latin, measure, start, end)


class LatinTerms(NamedTuple):
    """Terms of a piece in Latin letters and digits.

    `others` mean the same as the whole; `parts` are each less.
    """

    whole: str
    others: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


def latin_terms(piece: str) -> LatinTerms:
    """Return the terms of a word, a measure in its unit, or a model number and its parts."""
    if told := measures(piece):
        return LatinTerms(told[0], tuple(told[1:]))
    if of_sides := sides(piece):
        return LatinTerms(joined("".join(piece.split())), parts=tuple(of_sides))
    parts = [part for part in _SEPARATORS.split(piece) if part]
    if len(parts) < 2:
        return LatinTerms(piece)
    found = (measures(part) or [part] for part in parts if len(part) > 1)
    return LatinTerms(joined(piece), parts=tuple(one for part in found for one in part))


def joined(piece: str) -> str:
    """Return a model number without separators, but for those that say something."""
    kept = _KEPT.sub(lambda found: "x" if found.group() in "*×" else found.group(), piece)
    return _NOT_KEPT.sub("", kept)


def words(piece: str) -> list[tuple[str, int, int]]:
    """Return the words of a Chinese piece, words within words too, each with its start and end."""
    return _tokens(piece, "search")


def whole_words(piece: str) -> list[tuple[str, int, int]]:
    """Return the words that a Chinese piece is divided into, each with its start and end."""
    return _tokens(piece, "default")


def _tokens(piece: str, mode: str) -> list[tuple[str, int, int]]:
    found = rjieba.tokenize(piece, mode)
    return [(str(word), int(start), int(end)) for word, start, end in found]


def is_known(word: str) -> bool:
    """Return whether the dictionary has the word; `words` also guesses at what may be one."""
    return bool(rjieba.has_word(word))


def is_han(word: str) -> bool:
    """Return whether the word is of Chinese characters alone."""
    return _ALL_HAN.fullmatch(word) is not None


@cache
def _converter() -> Any:
    return opencc.OpenCC("t2s")


def _simplified(text: str) -> str:
    return str(_converter().convert(text))
