"""Latin words with a typing mistake, by the catalog's own words."""

from __future__ import annotations

import re
from typing import NamedTuple

from rapidfuzz.distance import Prefix

from product_search.text.english import is_english
from product_search.text.pinyin import split_pinyin
from product_search.text.vocabulary import Vocabulary

_WORD = re.compile(r"([a-z]{4,})(\d*)")
_SHORT, _MIDDLING = 4, 5  # letters of words in which a mistake leaves little that can be told


class Typo(NamedTuple):
    """What a word was probably to say, and whether that is sure enough to search by it."""

    text: str
    is_sure: bool


def find_typo(word: str, vocabulary: Vocabulary) -> Typo | None:
    """Return what a word in lower case was to say; None where it is right or nobody knows.

    Of a word with digits at its end only the letters are looked at.
    """
    found = _WORD.fullmatch(word)
    if found is None or vocabulary.has(word):
        return None
    letters, digits = found.groups()
    if vocabulary.has(letters) or is_english(letters) or (digits and len(letters) == _SHORT):
        return None
    near = [one for one in vocabulary.nearest(letters) if len(one) >= _SHORT]
    if not near or any(_is_plural(one, letters) for one in near):
        return None
    is_sure = len(near) == 1 and not split_pinyin(letters) and _is_likely(letters, near[0])
    return Typo(near[0] + digits, is_sure)


def _is_plural(one: str, other: str) -> bool:
    return f"{one}s" == other or f"{other}s" == one


def _is_likely(typed: str, meant: str) -> bool:
    """Return whether people mistype the word so: they begin right, and few letters say little."""
    if not Prefix.similarity(typed, meant):
        return False
    is_other_letter = sorted(typed) != sorted(meant) and len(typed) == len(meant)
    return not (is_other_letter and len(typed) <= _MIDDLING)
