"""What a product is found by: its text for the encoder, and its terms for BM25."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from product_search.text import analysis
from product_search.text.analysis import Piece, Script, fold, latin_terms, pieces, plain, terms
from product_search.text.measures import UNITS, measures, sides
from product_search.text.negation import absences, is_absence, without_absences
from product_search.text.pinyin import initials

# Raised when the terms below change: a collection that has others is filled anew.
TERMS_VERSION = 2
_MAX_DESCRIPTION = 200  # characters
_SIZE_KEYS = ("尺码", "鞋码", "码数")
_KEY_UNIT = re.compile(r".*?([a-z]+)")
_RARELY_ASKED = {"*": 1, "!": 2, "^": 3, "$": 3, "@": 4}  # in this order, behind all others
_MARKS = (" *", " !", " ^", " @")  # where each of these begins
SHORTEST_EDGE, _LONGEST_EDGE = 3, 20  # characters of a code's beginning or end
_GAPS = (" ", "-", "'", "’", "·", ".")  # what may part words that are also written as one
_LONGEST_JOINED = 20
_CAMEL = re.compile(r"[A-Z]{2,}(?![a-zà-ÿ])|[A-Z]?[a-zà-ÿ]+")
_LATIN_WORD = re.compile(r"[A-Za-zÀ-ÿ]+")
_HAS = re.compile("^(?:是否|带有|含有|带|含|有)")
_LETTERS = re.compile("[a-z]{2,}")
_NUMBERS = re.compile("[0-9]{4,}")  # that say which code it is, by themselves


@dataclass(frozen=True)
class Described:
    """What is said of a product."""

    title: str
    description: str | None = None
    category: str | None = None
    brand: str | None = None
    sku: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def document(title: str, category: str | None, description: str | None) -> str:
    """Return what the text encoder is given of a product.

    A long description is cut: its end adds nothing.
    """
    about = f"。{description[:_MAX_DESCRIPTION]}" if description else ""
    return plain(f"{category or ''} {title}{about}")


def document_terms(product: Described) -> str:
    """Return the terms of a product, parted by spaces.

    Beside the terms of its texts there are, by the first character: `*` the last of a word
    (*车 of 自行车), `@` initials, `^` and `$` beginnings and ends of codes, and `!` what the
    product says not to have.
    """
    labels = [product.brand or "", product.category or "", *_attribute_texts(product.attributes)]
    found = [*_said(product.title)]
    for text in labels:
        found += _said(text)
    for text in (product.title, product.brand or "", product.category or ""):
        found += dict.fromkeys(_written_otherwise(text))
    found += dict.fromkeys(_last_characters([product.title, *labels]))
    found += dict.fromkeys(_absent([product.title, *labels, product.description or ""]))
    found += (
        absent_term(_HAS.sub("", key))
        for key, value in product.attributes.items()
        if value is False
    )
    found += dict.fromkeys(_codes(product))
    return " ".join(sorted(found, key=lambda term: _RARELY_ASKED.get(term[0], 0)))


def unasked_from(asked: Collection[str]) -> Sequence[str]:
    """Return where the terms of a product can be cut, since nothing behind is asked for.

    There are many beginnings of codes and initials, and few queries that ask for any.
    """
    return _MARKS[max((_RARELY_ASKED.get(term[0], 0) for term in asked), default=0) :]


def cut_at(text: str, marks: Sequence[str]) -> str:
    """Return the terms of a product up to the first of the marks, which come in this order."""
    for mark in marks:
        place = text.find(mark)
        if place >= 0:
            return text[:place]
    return text


def absent_term(what: str) -> str:
    """Return the term of products that say not to have something."""
    return f"!{''.join(fold(what).split())}"


def last_character(char: str) -> str:
    """Return the term of all words of several characters that end in this one."""
    return f"*{char}"


def beginning(code: str) -> str:
    """Return the term of all codes that begin so."""
    return f"^{code}"


def end(code: str) -> str:
    """Return the term of all codes that end so."""
    return f"${code}"


def _said(text: str) -> Iterator[str]:
    """Yield the terms of a text, but for what it says to be absent."""
    yield from terms(without_absences(fold(text)))


def _absent(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from (absent_term(one.what) for one in absences(fold(text)))


def _last_characters(texts: Iterable[str]) -> Iterator[str]:
    for piece in _han_pieces(texts):
        for word, *_ in analysis.whole_words(piece):
            if len(word) > 1 and not is_absence(word):
                yield last_character(word[-1])


def _han_pieces(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        found = pieces(without_absences(fold(text)))
        yield from (one.text for one in found if one.script is Script.han)


def _written_otherwise(text: str) -> Iterator[str]:
    """Yield what words are also written as: parts of one, two as one, and initials."""
    for word in _LATIN_WORD.findall(plain(text)):
        parts = _CAMEL.findall(word)
        yield from (fold(part) for part in parts if len(parts) > 1 and len(part) > 1)
    folded = without_absences(fold(text))
    found = list(pieces(folded))
    for one, other in itertools.pairwise(found):
        if is_written_as_one(folded, one, other):
            yield analysis.joined(one.text) + analysis.joined(other.text)
    for piece in found:
        if is_code(piece.text):
            yield from _LETTERS.findall(piece.text)
    for run in _runs_of_han(folded, found):
        yield from initials([word for piece in run for word, *_ in analysis.whole_words(piece)])


def is_written_as_one(folded: str, one: Piece, other: Piece) -> bool:
    """Return whether two pieces of a text are words that may also be written as one."""
    if not one.script is other.script is Script.latin:
        return False
    is_measure = any(measures(each.text) or sides(each.text) for each in (one, other))
    is_short = other.end - one.start <= _LONGEST_JOINED
    return folded[one.end : other.start] in _GAPS and is_short and not is_measure


def _runs_of_han(folded: str, found: Iterable[Piece]) -> Iterator[list[str]]:
    """Yield the Chinese pieces that only spaces part."""
    run: list[str] = []
    last = 0
    for piece in found:
        if piece.script is not Script.han or folded[last : piece.start].strip():
            yield run
            run = []
        if piece.script is Script.han:
            run.append(piece.text)
        last = piece.end
    yield run


def bare(code: str) -> str:
    """Return the letters and digits of a code in lower case, and nothing between them."""
    return "".join(filter(str.isalnum, fold(code)))


def _codes(product: Described) -> Iterator[str]:
    """Yield the product's codes, whole, in parts, and by beginning and end."""
    without_signs = bare(product.sku or "")
    if without_signs and without_signs.isascii():
        yield without_signs
    for piece in _latin_pieces(product.sku or ""):
        found = latin_terms(piece)
        yield from (found.whole, *found.others)
        yield from (part for part in found.parts if any(map(str.isdigit, part)))
        yield from _edges(found.whole)
    for piece in _latin_pieces(product.title):
        if is_code(piece):
            yield from _edges(latin_terms(piece).whole)
            yield from _NUMBERS.findall(piece)
    for piece in _latin_pieces(product.description or ""):
        if is_code(piece):
            found = latin_terms(piece)
            yield from (found.whole, *found.parts, *_edges(found.whole))


def _latin_pieces(text: str) -> Iterator[str]:
    yield from (one.text for one in pieces(fold(text)) if one.script is Script.latin)


def is_code(piece: str) -> bool:
    """Return whether a piece has digits, beside letters or signs, and is no measure."""
    is_measure = bool(measures(piece) or sides(piece))
    return not is_measure and not piece.isdecimal() and any(map(str.isdigit, piece))


def _edges(code: str) -> Iterator[str]:
    for size in range(SHORTEST_EDGE, min(len(code), _LONGEST_EDGE + 1)):
        yield beginning(code[:size])
        yield end(code[-size:])


def _attribute_texts(attributes: Mapping[str, Any]) -> Iterator[str]:
    for key, value in attributes.items():
        for one in value if isinstance(value, list) else [value]:
            if one is True:
                yield key  # 可折叠: true says its key; false says nothing that is there
            elif isinstance(one, str):
                yield one
            elif isinstance(one, int | float) and one is not False:
                yield f"{one}{_unit_of(key)}"


def _unit_of(key: str) -> str:
    """Return the unit that the key's numbers are in: 码 of 尺码, kg of 承重kg."""
    if key in _SIZE_KEYS:
        return "码"
    found = _KEY_UNIT.fullmatch(key.lower())
    return found[1] if found and found[1] in UNITS else ""
