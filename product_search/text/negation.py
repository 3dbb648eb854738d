"""Negation: what a text says not to want, and what a product says not to have."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from product_search.text import analysis

_STOP = r"\s,.;、，。；！!?？"
_UNWANTED = re.compile(
    r"(?:不想?要|不需要|别要|不是|不含有?|不带|没有|不添?加|不放|除了)"
    rf"(?P<what>[^{_STOP}的]{{1,8}}?)"
    rf"(?:以外的?|之外的?|的|(?=[{_STOP}])|$)"
)
_QUOTES, _END_QUOTES = '"“”「『‘', '"”」』’'
_MINUS = re.compile(
    rf"(?:^|(?<=\s))(?:-\s?|[–—−])"
    rf"(?:[{_QUOTES}](?P<quoted>[^{_QUOTES}{_END_QUOTES}]+)[{_END_QUOTES}]"
    rf"|(?P<what>[^{_STOP}–—−-][^{_STOP}]*))"
)
# What people don't want to happen is what they want a thing for, and a question is no refusal.
_NO_REFUSAL = re.compile("[让使令叫把有是要]|防止|避免")
_STOPS = " ,.;、，。；！!?？"  # of plain text, whose only white space is a space
_QUOTED = re.compile(
    '(?<![-–—−])["“”「『](?P<what>[^"“”「」『』]+)["“”」』]'
    r"|(?<!\w)(?<![-–—−])['‘](?P<between>[^'‘’]+)['’](?!\w)"
)
_NUMERALS = "零〇一二两三四五六七八九十百千万"
_WITHOUT = re.compile(
    r"(?:不含有?|不带|没有|[不未]添?加|不放|[无零0]添加"
    rf"|(?<![\d.a-z])0|(?<![{_NUMERALS}])零|无)(?P<what>[{analysis.HAN}]+|[a-z]+)"
)
_COUNTED = frozenset(f"元号岁码度点个件下{_NUMERALS}")  # after 0: a number, not an absence


class Wish(NamedTuple):
    """A text that is looked for, and what must not be there."""

    wanted: str
    unwanted: tuple[str, ...] = ()


class Absence(NamedTuple):
    """Something that a folded text says to be absent; from where on, and where it is named."""

    what: str
    said: int
    start: int
    end: int
    is_word: bool  # 无线: a word that is searched for as it is


def wish(text: str) -> Wish:
    """Split a query into what it wants and what it does not: 鼠标 不要无线的 is 鼠标, not 无线.

    A text that only says what it does not want is left as it is.
    """
    rest = plain = analysis.plain(text)
    unwanted: list[str] = []

    def leave_out(found: re.Match[str]) -> str:
        groups = found.groupdict()
        if quoted := groups.get("quoted"):
            unwanted.append(quoted)
            return " "
        if _NO_REFUSAL.search(_clause(rest, found.start())) or groups["what"].isdecimal():
            return found.group()
        what, more = _first_of(found)
        unwanted.append(what)
        return f" {more} "

    for pattern in (_MINUS, _UNWANTED):
        rest = pattern.sub(leave_out, rest)
    rest = _without_statements(rest, unwanted)
    wanted = " ".join(rest.split())
    if not any(True for _ in analysis.pieces(analysis.fold(wanted))):
        return Wish(plain)
    return Wish(wanted, tuple(unwanted))


def _clause(text: str, end: int) -> str:
    """Return what stands before a place of a plain text, from the last stop on."""
    return text[max(text.rfind(stop, 0, end) for stop in _STOPS) + 1 : end]


def without_quotes(text: str) -> tuple[str, list[str]]:
    """Return the text without quotation marks, and what stood between any."""
    quoted = [_between(found).strip() for found in _QUOTED.finditer(text)]
    rest = _QUOTED.sub(lambda found: f" {_between(found)} ", text)
    return rest.strip(), list(filter(None, quoted))


def _between(found: re.Match[str]) -> str:
    """Return what stands between the quotation marks."""
    return found["what"] or found["between"]


def _first_of(found: re.Match[str]) -> tuple[str, str]:
    """Return what is unwanted, and what follows it without a 的: 不含酒精湿巾 wants 湿巾."""
    what = found["what"]
    is_last = found.end() == len(found.string) or found.group()[-1] == what[-1]
    is_first = not found.string[: found.start()].strip()
    if not (is_last and is_first) or not analysis.is_han(what):
        return what, ""
    first = _object_of(what)
    return first, what.removeprefix(first)


def _without_statements(text: str, unwanted: list[str]) -> str:
    """Take 无香精 out of a query; 无线, which is a word, stays."""
    folded = analysis.fold(text)
    if len(folded) != len(text):
        return text
    rest = text
    for one in absences(folded):
        if not one.is_word and one.start - one.said == 1:
            unwanted.append(one.what)
            rest = rest[: one.said] + " " * (one.end - one.said) + rest[one.end :]
    return rest


def absences(folded: str) -> Iterator[Absence]:
    """Yield what a folded text says to be absent: 无香精, 不含酒精, 0蔗糖."""
    words = _Words(folded)
    for found in _WITHOUT.finditer(folded):
        said, start, named = found.start(), found.start("what"), found["what"]
        marker = folded[said:start]
        if named[0].isascii():
            yield Absence(named, said, start, found.end(), is_word=False)
        elif marker in "无零" and (word := words.at(said)) is not None:
            if is_absence(word):
                yield Absence(word[1:], said, start, start + 1, is_word=True)
        elif marker not in "0零" or named[0] not in _COUNTED:
            what = _object_of(named)
            yield Absence(what, said, start, start + len(what), is_word=False)


def is_absence(word: str) -> bool:
    """Return whether a word says that something is absent, as 无线 does: not 零食, not 无花果."""
    return len(word) == 2 and word[0] == "无"


def without_absences(folded: str) -> str:
    """Return the folded text with spaces for what it says to be absent."""
    for one in absences(folded):
        if not one.is_word:
            folded = folded[: one.said] + " " * (one.end - one.said) + folded[one.end :]
    return folded


class _Words:
    """The words of a folded text, found when the first one is asked for."""

    def __init__(self, folded: str) -> None:
        self._folded = folded

    @cached_property
    def _pieces(self) -> list[analysis.Piece]:
        """The pieces in the order of the text, each once: a number may come as a measure too."""
        pieces: dict[int, analysis.Piece] = {}
        for one in analysis.pieces(self._folded):
            pieces.setdefault(one.start, one)
        return list(pieces.values())

    def at(self, place: int) -> str | None:
        """Return the word of the dictionary, of several characters, that begins at a place.

        None too where another word runs over the place: 有无 and 虚无 are no absence either.
        """
        piece = self._pieces[bisect_right(self._pieces, place, key=lambda one: one.start) - 1]
        for word, start, end in analysis.whole_words(piece.text):
            if start < place - piece.start < end:
                return word
            if start == place - piece.start:
                return word if end - start > 1 and analysis.is_known(word) else None
        return None


def _object_of(named: str) -> str:
    """Return what is absent: 香精 of 香精洗衣皂, 糖 of 糖可乐, 帽绳 of 帽绳折叠."""
    (first, *_), *more = analysis.whole_words(named)
    if len(first) > 1 and analysis.is_known(first):
        return first
    is_alone = len(first) == 1 and bool(more) and len(more[0][0]) > 1
    return first if is_alone else named[:2]
