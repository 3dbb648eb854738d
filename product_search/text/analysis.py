"""The normalisation that indexing and search share: plain text for encoders, terms for BM25.

Terms are parted by spaces, so that every Milvus takes them as they are: words by a dictionary,
measures in one unit, model numbers whole, and pairs of pinyin syllables, which wrong homophones
and romanised queries have in common with what was meant.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from enum import Enum
from functools import cache, lru_cache
from typing import Any, NamedTuple

import opencc
import rjieba
from pypinyin import pinyin_dict
from pypinyin.converter import UltimateConverter
from pypinyin.core import Pinyin

# By a unit's name, as `fold` writes it: the unit that its measures are told in, and how many of
# those it is.
UNITS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("g", "克"), ("g", "1")),
    **dict.fromkeys(("kg", "千克", "公斤"), ("g", "1000")),
    **dict.fromkeys(("mg", "毫克"), ("g", "0.001")),
    **dict.fromkeys(("斤", "市斤"), ("g", "500")),
    **dict.fromkeys(("t", "吨"), ("g", "1000000")),
    **dict.fromkeys(("oz", "盎司"), ("oz", "1")),
    **dict.fromkeys(("ml", "毫升"), ("ml", "1")),
    **dict.fromkeys(("l", "升"), ("ml", "1000")),
    **dict.fromkeys(("mm", "毫米"), ("mm", "1")),
    **dict.fromkeys(("cm", "厘米", "公分"), ("mm", "10")),
    **dict.fromkeys(("m", "米"), ("mm", "1000")),
    **dict.fromkeys(("寸", "英寸", "inch", "吋"), ("寸", "1")),
    **dict.fromkeys(("w", "瓦"), ("w", "1")),
    **dict.fromkeys(("kw", "千瓦"), ("w", "1000")),
    **dict.fromkeys(("v", "伏"), ("v", "1")),
    **dict.fromkeys(("mah", "毫安", "毫安时"), ("mah", "1")),
    **dict.fromkeys(("码",), ("码", "1")),
    **dict.fromkeys(("号",), ("号", "1")),
}
_UNITS_BY_LENGTH = sorted(UNITS, key=len, reverse=True)
_UNIT = "|".join(_UNITS_BY_LENGTH)
_CHINESE_UNIT = "|".join(name for name in _UNITS_BY_LENGTH if not name.isascii())
_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"两": 2}
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_PIECES = re.compile(
    rf"(?P<measure>\d+(?:\.\d+)?\s*(?:{_CHINESE_UNIT}))"
    rf"|(?P<counted>[零一二两三四五六七八九十百]+(?:{_CHINESE_UNIT}))"
    r"|(?P<latin>[a-z0-9]+(?:[-*×/._+#][a-z0-9]+)*)"
    rf"|(?P<han>[{_HAN}]+)"
    rf"|(?P<other>(?:(?![a-z0-9{_HAN}])[^\W_])+)"  # a word in another script
)
_MEASURE = re.compile(rf"(\d+(?:\.\d+)?)\s*({_UNIT})")
_ALL_HAN = re.compile(rf"[{_HAN}]+")
_SEPARATORS = re.compile(r"[-*×/._+#]")
_MAX_DESCRIPTION = 200  # characters
_SIZE_KEYS = ("尺码", "鞋码", "码数")
_KEY_UNIT = re.compile(r".*?([a-z]+)")


def plain(text: str) -> str:
    """Return the text as encoders are given it: NFKC, simplified characters, single spaces."""
    return " ".join(_simplified(unicodedata.normalize("NFKC", text)).split())


def document(title: str, category: str | None, description: str | None) -> str:
    """Return what the text encoder is given of a product.

    A long description is cut: its end adds nothing.
    """
    about = f"。{description[:_MAX_DESCRIPTION]}" if description else ""
    return plain(f"{category or ''} {title}{about}")


def document_terms(
    title: str, brand: str | None, category: str | None, attributes: Mapping[str, Any]
) -> str:
    """Return the terms of a product, parted by spaces."""
    texts = [title, brand or "", category or "", *_attribute_texts(attributes)]
    return " ".join(term for text in texts for term in terms(text))


def terms(text: str) -> Iterator[str]:
    """Yield the terms of the text, in its order."""
    for piece in pieces(fold(text)):
        if piece.script is Script.han:
            yield from (word for word, _, _ in words(piece.text))
            yield from sounds(syllables_of(piece.text))
        else:
            yield from latin_terms(piece.text)


def fold(text: str) -> str:
    """Return the plain text in lower case."""
    return plain(text).lower()


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
        is_counted = found.lastgroup == "counted"
        is_han = is_counted or found.lastgroup == "han"
        yield Piece(Script.han if is_han else Script.latin, piece, start, end)
        measure = _in_digits(piece) if is_counted else None
        if measure is not None:
            yield Piece(Script.latin, measure, start, end)


def _measure(piece: str) -> str | None:
    """Return a measure in the unit of `UNITS`; None where the piece is no measure."""
    found = _MEASURE.fullmatch(piece)
    if found is None:
        return None
    unit, factor = UNITS[found[2]]
    amount = (Decimal(found[1]) * Decimal(factor)).normalize()
    return f"{amount:f}{unit}"


def _in_digits(piece: str) -> str | None:
    """Return a number in characters and its unit, in digits; None where it is no number."""
    unit = next(name for name in _UNITS_BY_LENGTH if piece.endswith(name))
    number = _number(piece.removesuffix(unit))
    return None if number is None else f"{number}{unit}"


def _number(text: str) -> int | None:
    """Return the number, up to 999, in Chinese characters; None where the text is no number."""
    found = re.fullmatch(r"(?:(.)百)?零?(?:(.?)十)?(.?)", text)
    if found is None:
        return None
    hundreds, tens, ones = found.groups()
    ten = 0 if tens is None else _DIGITS.get(tens, 1 if tens == "" else None)
    parts = [_DIGITS.get(hundreds, 0 if hundreds is None else None), ten]
    parts.append(_DIGITS.get(ones, 0 if ones == "" else None))
    if any(part is None for part in parts):
        return None
    return sum((part or 0) * size for part, size in zip(parts, (100, 10, 1), strict=True))


def latin_terms(piece: str) -> list[str]:
    """Return the terms of a piece in Latin letters and digits.

    These are a word, a measure in its unit, or a model number without its separators, and then
    its parts.
    """
    measure = _measure(piece)
    if measure is not None:
        return [measure]
    parts = [part for part in _SEPARATORS.split(piece) if part]
    if len(parts) == 1:
        return parts
    return ["".join(parts), *(_measure(part) or part for part in parts if len(part) > 1)]


def words(piece: str) -> list[tuple[str, int, int]]:
    """Return the words of a Chinese piece, words within words too, each with its start and end."""
    found = rjieba.tokenize(piece, "search")
    return [(str(word), int(start), int(end)) for word, start, end in found]


def is_known(word: str) -> bool:
    """Return whether the dictionary has the word; `words` also guesses at what may be one."""
    return bool(rjieba.has_word(word))


def is_han(word: str) -> bool:
    """Return whether the word is of Chinese characters alone."""
    return _ALL_HAN.fullmatch(word) is not None


class _Readings(UltimateConverter):
    """Pinyin's own converter, which remembers the words that it has converted."""

    def __init__(self) -> None:
        super().__init__()
        self._known = lru_cache(maxsize=16_384)(super().convert)

    def convert(self, *arguments: Any, **named: Any) -> Any:
        """Return the readings of a word; see pypinyin's."""
        return self._known(*arguments, **named)


_PINYIN = Pinyin(_Readings())


@lru_cache(maxsize=4096)
def syllables_of(piece: str) -> tuple[str, ...]:
    """Return the pinyin of a Chinese piece, a syllable for each character."""
    # By default a run of characters without a known pinyin would be one syllable.
    return tuple(_PINYIN.lazy_pinyin(piece, errors=list))  # type: ignore[arg-type]


def sounds(syllables: Iterable[str]) -> Iterator[str]:
    """Yield a term for each pair of syllables that follow each other."""
    for first, second in itertools.pairwise(syllables):
        yield f"~{first}.{second}"


@lru_cache(maxsize=4096)
def split_pinyin(word: str) -> tuple[str, ...]:
    """Split a Latin word into the fewest pinyin syllables; none where the word is no pinyin."""
    known = _pinyin()
    best: list[tuple[str, ...] | None] = [()]
    for end in range(1, len(word) + 1):
        ways = [
            (*way, word[start:end])
            for start in range(max(0, end - 6), end)
            if (way := best[start]) is not None and word[start:end] in known
        ]
        best.append(min(ways, key=len, default=None))
    return best[-1] or ()


@cache
def _pinyin() -> frozenset[str]:
    """Return every syllable, without its tone, as lazy_pinyin writes it."""
    marked = {
        syllable
        for readings in pinyin_dict.pinyin_dict.values()
        for syllable in readings.split(",")
    }
    return frozenset(_without_tone(syllable) for syllable in marked)


def _without_tone(syllable: str) -> str:
    apart = unicodedata.normalize("NFD", syllable).replace("u\u0308", "v")
    return "".join(char for char in apart if char.isascii())


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


@cache
def _converter() -> Any:
    return opencc.OpenCC("t2s")


def _simplified(text: str) -> str:
    return str(_converter().convert(text))
