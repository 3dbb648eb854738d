"""The one normalisation that indexing and search share: plain text for encoders, terms for BM25.

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
from functools import cache, lru_cache
from typing import Any

import opencc
import rjieba
from pypinyin import lazy_pinyin, pinyin_dict

# What a unit is counted in, and how many of those it is. Names as `_folded` has them.
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
_UNIT = "|".join(sorted(UNITS, key=len, reverse=True))
_CHINESE_UNIT = "|".join(
    sorted((name for name in UNITS if not name.isascii()), key=len, reverse=True)
)
_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"两": 2}
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_PIECES = re.compile(
    rf"(?P<measure>\d+(?:\.\d+)?\s*(?:{_CHINESE_UNIT}))"
    rf"|(?P<counted>[零一二两三四五六七八九十百]+(?:{_CHINESE_UNIT}))"
    r"|(?P<latin>[a-z0-9]+(?:[-*×/._+#][a-z0-9]+)*)"
    rf"|(?P<han>[{_HAN}]+)"
)
_MEASURE = re.compile(rf"(\d+(?:\.\d+)?)\s*({_UNIT})")
_SEPARATORS = re.compile(r"[-*×/._+#]")
_SIZE_KEYS = ("尺码", "鞋码", "码数")
_KEY_UNIT = re.compile(r".*?([a-z]+)")


def plain(text: str) -> str:
    """NFKC, simplified characters, single spaces: what encoders are given."""
    return " ".join(_simplified(unicodedata.normalize("NFKC", text)).split())


def query_terms(text: str) -> str:
    """The terms of a query."""
    return " ".join([*_terms(text), *_romanised(text)])


def document_terms(
    title: str, brand: str | None, category: str | None, attributes: Mapping[str, Any]
) -> str:
    """The terms of a product."""
    texts = [title, brand or "", category or "", *_attribute_texts(attributes)]
    return " ".join(term for text in texts for term in _terms(text))


def _terms(text: str) -> Iterator[str]:
    for found in _PIECES.finditer(_folded(text)):
        piece = found.group()
        match found.lastgroup:
            case "measure":
                yield _measured(piece) or piece
            case "counted":
                yield from _counted(piece)
            case "latin":
                yield from _latin(piece)
            case _:
                yield from _words(piece)
                yield from _sounds(lazy_pinyin(piece))


def _folded(text: str) -> str:
    return plain(text).lower()


def _measured(piece: str) -> str | None:
    """The measure in the unit that its kind is counted in; None for what is none."""
    found = _MEASURE.fullmatch(piece)
    if found is None:
        return None
    unit, factor = UNITS[found[2]]
    amount = (Decimal(found[1]) * Decimal(factor)).normalize()
    return f"{amount:f}{unit}"


def _counted(piece: str) -> Iterator[str]:
    """A number in characters and its unit, as a measure and as the words that it also is."""
    unit = next(name for name in sorted(UNITS, key=len, reverse=True) if piece.endswith(name))
    number = _number(piece.removesuffix(unit))
    if number is not None:
        yield _measured(f"{number}{unit}") or piece
    yield from _words(piece)
    yield from _sounds(lazy_pinyin(piece))


def _number(text: str) -> int | None:
    """Up to 999 in characters; None for what is no number."""
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


def _latin(piece: str) -> Iterator[str]:
    """A word, a measure, or a model number: whole without its separators, and its parts."""
    parts = [part for part in _SEPARATORS.split(piece) if part]
    whole = _measured(piece)
    yield whole or "".join(parts)
    if len(parts) > 1 and whole is None:
        yield from (_measured(part) or part for part in parts if len(part) > 1)


def _words(piece: str) -> Iterable[str]:
    return rjieba.cut_for_search(piece)


def _sounds(syllables: list[str]) -> Iterator[str]:
    """Pairs of syllables that follow each other."""
    for first, second in itertools.pairwise(syllables):
        yield f"~{first}.{second}"


def _romanised(text: str) -> Iterator[str]:
    """The sounds of the Latin words that are pinyin; words that follow each other are one."""
    for run in re.findall(r"[a-z]+(?:[ '][a-z]+)*", _folded(text)):
        syllables = [_syllables(word) for word in re.split("[ ']", run)]
        yield from _sounds([syllable for word in syllables for syllable in word])


@lru_cache(maxsize=4096)
def _syllables(word: str) -> tuple[str, ...]:
    """The word as the fewest syllables of pinyin; none for what is no pinyin."""
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
    """Every syllable, without its tone, as lazy_pinyin writes it."""
    marked = {one for all_ in pinyin_dict.pinyin_dict.values() for one in all_.split(",")}
    return frozenset(_without_tone(syllable) for syllable in marked)


def _without_tone(syllable: str) -> str:
    apart = unicodedata.normalize("NFD", syllable).replace("u\u0308", "v")
    return "".join(char for char in apart if char.isascii())


def _attribute_texts(attributes: Mapping[str, Any]) -> Iterator[str]:
    for key, value in attributes.items():
        for one in value if isinstance(value, list) else [value]:
            if one is True:
                yield key  # 可折叠: true is the words of its key; false says nothing that is there
            elif isinstance(one, str):
                yield one
            elif isinstance(one, int | float) and one is not False:
                yield f"{one}{_unit_of(key)}"


def _unit_of(key: str) -> str:
    """Of 尺码: 42 and 承重kg: 50, the unit that the number is in."""
    if key in _SIZE_KEYS:
        return "码"
    found = _KEY_UNIT.fullmatch(key.lower())
    return found[1] if found and found[1] in UNITS else ""


@cache
def _converter() -> Any:
    return opencc.OpenCC("t2s")


def _simplified(text: str) -> str:
    return str(_converter().convert(text))
