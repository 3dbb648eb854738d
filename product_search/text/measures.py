"""Measures: numbers with their units, in one unit however they are written."""

from __future__ import annotations

import re
from decimal import Decimal

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
    **dict.fromkeys(("mb",), ("mb", "1")),
    **dict.fromkeys(("gb",), ("mb", "1024")),
    **dict.fromkeys(("tb",), ("mb", "1048576")),
    **dict.fromkeys(("码",), ("码", "1")),
    **dict.fromkeys(("号",), ("号", "1")),
}
# g and t are also written for GB and TB: of such sizes memory and disks are made.
_STORAGE = {"g": ("gb", {2**power for power in range(11)}), "t": ("tb", {1, 2, 4, 8, 16, 32})}
_BY_LENGTH = sorted(UNITS, key=len, reverse=True)
_UNIT = "|".join(_BY_LENGTH)
_CHINESE_UNIT = "|".join(name for name in _BY_LENGTH if not name.isascii())
_LATIN_UNIT = "|".join(name for name in _BY_LENGTH if name.isascii())
_NUMBER = r"\d+(?:\.\d+)?"
_CHARACTERS = "零一二三四五六七八九"
_DIGITS = {char: value for value, char in enumerate(_CHARACTERS)} | {"两": 2}
# As they stand in a folded text.
LENGTH = rf"(?:\d|[{_CHARACTERS}两])米(?:\d{{1,2}}|[{_CHARACTERS}]{{1,2}})(?!\d|{_CHINESE_UNIT})"
MEASURE = rf"{_NUMBER}万?\s*(?:{_CHINESE_UNIT})|{_NUMBER}\s+(?:{_LATIN_UNIT})(?![a-z0-9])"
SIDES = rf"{_NUMBER}\s*(?:[*×x]\s*{_NUMBER}\s*)+(?:{_UNIT})(?![a-z0-9])"
COUNTED = rf"(?:[{_CHARACTERS}两十百]+|半)(?:{_CHINESE_UNIT})"
SHADE = r"#\d+"
_MEASURE = re.compile(rf"({_NUMBER})(万?)\s*({_UNIT})")
_SIDES = re.compile(rf"({_NUMBER}\s*(?:[*×x]\s*{_NUMBER}\s*)+)({_UNIT})")
_ONE_SIDE = re.compile(_NUMBER)
_LENGTH = re.compile("(.)米(.+)")


def measures(text: str) -> list[str]:
    """Return the measure in its unit of `UNITS`; none where the text is no measure.

    16g, which may be memory too, has both readings, that of memory first.
    """
    if text.startswith("#") and text[1:].isdecimal():
        return [_told(Decimal(text[1:]), "号")]
    found = _MEASURE.fullmatch(text)
    if found is None:
        return []
    amount = Decimal(found[1]) * (10_000 if found[2] else 1)
    storage, sizes = _STORAGE.get(found[3], ("", set[int]()))
    units = [storage, found[3]] if amount in sizes else [found[3]]
    return [_told(amount, unit) for unit in units]


def sides(text: str) -> list[str]:
    """Return the sides of a thing (40x60cm), each as a measure; none where the text has none."""
    found = _SIDES.fullmatch(text)
    return [_told(Decimal(side), found[2]) for side in _ONE_SIDE.findall(found[1])] if found else []


def _told(amount: Decimal, unit: str) -> str:
    told, factor = UNITS[unit]
    return f"{(amount * Decimal(factor)).normalize():f}{told}"


def in_digits(text: str) -> str | None:
    """Return a number in characters and its unit, in digits; None where it is no number."""
    unit = next(name for name in _BY_LENGTH if text.endswith(name))
    said = text.removesuffix(unit)
    if said == "半":
        return f"0.5{unit}"
    number = chinese_number(said)
    return None if number is None else f"{number}{unit}"


def length_in_metres(text: str) -> str:
    """Return 1米8 and 一米八 as 1.8m."""
    found = _LENGTH.fullmatch(text)
    assert found is not None, "LENGTH has matched"
    digits = "".join(str(_DIGITS.get(char, char)) for char in f"{found[1]}.{found[2]}")
    return f"{digits}m"


def chinese_number(text: str) -> int | None:
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
