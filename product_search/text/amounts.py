"""Amounts of money as people write them: 1,000, 1.5万, 2k, 一百五, 两三百, 三百多, 几十; pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

NUMERALS = "零〇一二两三四五六七八九十百千万几"
_ARABIC = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]{1,2}(?![0-9]))?"
AMOUNT = (
    rf"(?:{_ARABIC}(?:\s?[百千万](?:[1-9](?![0-9.]))?|k(?![a-z0-9]))?|[{NUMERALS}]+)(?:多|来|余)?"
)
_PARTS = re.compile(
    rf"(?:(?P<arabic>{_ARABIC})\s?(?P<scale>[百千万k])?(?P<next>[1-9])?|(?P<han>[{NUMERALS}]+))"
    r"(?P<more>[多来余])?"
)
_SCALES = {"十": 10, "百": 100, "千": 1000, "k": 1000, "万": 10_000}
_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_DIGIT = "[一二两三四五六七八九]"
_NUMBER = re.compile(
    rf"(?:{_DIGIT}?千)?零?(?:{_DIGIT}?百)?零?(?:{_DIGIT}?十)?{_DIGIT}?|{_DIGIT}?[百千]{_DIGIT}"
)
_TWO = re.compile(
    rf"(?P<tens>{_DIGIT}?十)?(?P<one>{_DIGIT})(?P<other>{_DIGIT})(?P<scale>[十百千万]*)"
)
_FEW = re.compile(r"几(?P<scale>[十百千]?万?)")
_AND_FEW = re.compile(r"(?P<tens>.*十)几")
_ABOUT = Decimal("0.2")
_MOST_CHARACTERS = 20  # of a number: what is longer is no amount, and too long to be divided


class Amount(NamedTuple):
    """The least and the most that an amount means; equal where it is exact."""

    low: Decimal
    high: Decimal

    @property
    def is_exact(self) -> bool:
        """Whether it is one number."""
        return self.low == self.high

    def about(self) -> Amount:
        """Return what is about as much: 20 % less or more."""
        return Amount(self.low * (1 - _ABOUT), self.high * (1 + _ABOUT))


def read_amount(text: str) -> Amount | None:
    """Return what the text, which AMOUNT matches, means; None where it is no number."""
    parts = _PARTS.fullmatch(text)
    if parts is None:
        return None
    amount = _arabic(parts) if parts["arabic"] else _han(parts["han"])
    more = parts["more"]
    if amount is None or not more:
        return amount
    if not amount.is_exact or amount.low < 10:
        return None
    return amount.about() if more == "来" else Amount(amount.low, amount.low + _step(amount.low))


def scale_of(text: str) -> int:
    """Return what the amount's last character multiplies by: 100 of 5百, 1 of 500."""
    return _SCALES.get(text[-1], 1)


def _arabic(parts: re.Match[str]) -> Amount | None:
    if len(parts["arabic"]) > _MOST_CHARACTERS:
        return None
    scale = _SCALES.get(parts["scale"] or "", 1)
    value = Decimal(parts["arabic"].replace(",", "")) * scale
    value += Decimal(parts["next"] or 0) * scale / 10
    return Amount(value, value)


def _han(text: str) -> Amount | None:
    few, and_few, two = (one.fullmatch(text) for one in (_FEW, _AND_FEW, _TWO))
    if few:
        scale = _scale(few["scale"])
        return Amount(Decimal(2 * scale if scale > 1 else 1), Decimal(10 * scale))
    if and_few:
        tens = _number(and_few["tens"])
        return None if tens is None else Amount(Decimal(tens), Decimal(tens + 10))
    if two and _DIGITS[two["one"]] < _DIGITS[two["other"]] and (two["tens"] or two["scale"]):
        tens = _number(two["tens"]) if two["tens"] else 0
        if tens is None:
            return None
        ends = (_DIGITS[two["one"]], _DIGITS[two["other"]])
        low, high = (Decimal((tens + end) * _scale(two["scale"])) for end in ends)
        return Amount(low, high)
    number = _number(text)
    return None if number is None else Amount(Decimal(number), Decimal(number))


def _scale(text: str) -> int:
    scale = 1
    for char in text:
        scale *= _SCALES[char]
    return scale


def _number(text: str) -> int | None:
    """Return the number in Chinese characters; None where the text is no number."""
    if not text or "几" in text:
        return None
    above, has_above, below = text.rpartition("万")
    if has_above:
        head = _below_ten_thousand(above) if above else 1
        if head is None:
            return None
        if len(below) == 1 and below in _DIGITS and below not in "零〇":
            return head * 10_000 + _DIGITS[below] * 1000  # 一万二
        tail = _below_ten_thousand(below.removeprefix("零")) if below else 0
        return None if tail is None else head * 10_000 + tail
    return _below_ten_thousand(text)


def _below_ten_thousand(text: str) -> int | None:
    if not text or _NUMBER.fullmatch(text.replace("〇", "零")) is None:
        return None
    value, digit, last = 0, None, 1
    for char in text:
        if char in _SCALES:
            value += (1 if digit is None else digit) * _SCALES[char]
            digit, last = None, _SCALES[char]
        else:
            digit = _DIGITS[char]
            last = 10 if digit == 0 else last
    if digit:
        value += digit * max(1, last // 10)  # 一百五 is 150, 一百零五 105
    return value or None


def _step(value: Decimal) -> Decimal:
    """Return the largest power of ten that the number is a multiple of."""
    step = Decimal(1)
    while value % (step * 10) == 0:
        step *= 10
    return step
