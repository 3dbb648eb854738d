"""Pinyin: how Chinese words sound, and what is typed for them."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

from pypinyin import pinyin_dict
from pypinyin.converter import UltimateConverter
from pypinyin.core import Pinyin

_MOST_WORDS, MOST_INITIALS = 2, 6  # of what is typed by initials
_VOWELS = frozenset("aeiouv")
_SHORT_WORDS = 4  # letters of three words, one of which is a single character: 不粘炒锅


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


def initials(words: Sequence[str]) -> Iterator[str]:
    """Yield a term for the initials of each few Chinese words that follow each other."""
    letters = ["".join(one[0] for one in syllables_of(word)) for word in words]
    for start, count in itertools.product(range(len(letters)), range(1, _MOST_WORDS + 2)):
        typed = "".join(letters[start : start + count])
        most = MOST_INITIALS if count <= _MOST_WORDS else _SHORT_WORDS
        if start + count <= len(letters) and 2 <= len(typed) <= most:
            yield initials_term(typed)


def initials_term(letters: str) -> str:
    """Return the term of what is typed by initials: lyej for 蓝牙耳机."""
    return f"@{letters}"


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
    """Return every syllable that has a vowel, without its tone, as lazy_pinyin writes it.

    Nobody types m and ng for what is also said as en: with them samsang would be pinyin.
    """
    marked = {
        syllable
        for readings in pinyin_dict.pinyin_dict.values()
        for syllable in readings.split(",")
    }
    plain = map(_without_tone, marked)
    return frozenset(one for one in plain if not _VOWELS.isdisjoint(one))


def _without_tone(syllable: str) -> str:
    apart = unicodedata.normalize("NFD", syllable).replace("u\u0308", "v")
    return "".join(char for char in apart if char.isascii())
