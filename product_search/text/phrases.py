"""Words and phrases of titles, as they are written there, and the keys that they are typed by."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import rjieba

from product_search.text.analysis import HAN, fold, is_han, plain
from product_search.text.measures import UNITS
from product_search.text.pinyin import syllables_of

MOST_WORDS = 4  # of a phrase
JOINT = "\x1f"  # between the words of a phrase's key
_HAN = re.compile(f"[{HAN}]")
_SIGNS = frozenset("'’&.-+#")  # within a Latin word: L'Oréal, Dr.Martens, WH-1000XM5, C++
_UNITS = UNITS.keys() | {"hz", "x", "%"}
_NUMBER = re.compile(r"[\d.,:×*-]+(.*)", re.DOTALL)
# Words at which no phrase begins or ends.
_LOOSE = frozenset(
    "的地得了着过和与及或并在给被把为对从等做用约可级款个只枚支件块这那是有也就都很更最"
)
_SOUNDED = re.compile(rf"{_HAN.pattern}+|[^\W_]+|[+#]+")
_MOST_MIXED = 3  # syllables that are typed whole, before initials
# Counts in Chinese characters: 一个, 两件.
_COUNTED = re.compile("[一二两三四五六七八九十百半几]+[个件只团箱套双条盒支片块瓶袋张把份对枚级]?")


class Word(NamedTuple):
    """A word of a title, in simplified characters, and where it is."""

    text: str
    start: int
    end: int
    has_han: bool


class Phrase(NamedTuple):
    """One to `MOST_WORDS` words that follow each other in a title."""

    key: str  # the words in lower case, with JOINT between them
    text: str  # as the title writes it
    is_end: bool  # whether nothing follows it up to the next space or sign


class Sounds(NamedTuple):
    """How Chinese is typed in pinyin, without spaces."""

    whole: str  # lanyaerji
    initials: str  # lyej
    mixed: tuple[str, ...]  # lanyej, lanyaej: syllables, then initials


def phrases(title: str) -> Iterator[Phrase]:
    """Yield the words and phrases of a title; numbers, measures and loose words are none."""
    shown, words = _words(title)
    for run in _runs(words):
        keys = [_key(word) for word in run]
        for first, key in enumerate(keys):
            if key in _LOOSE or key.isdigit() or _COUNTED.fullmatch(key):
                continue
            start = run[first].start
            if len(key) > 1:
                yield Phrase(key, shown[start : run[first].end], first == len(run) - 1)
            for last in range(first + 1, min(first + MOST_WORDS, len(run))):
                key += JOINT + keys[last]
                if keys[last] not in _LOOSE:
                    yield Phrase(key, shown[start : run[last].end], last == len(run) - 1)


def compact(text: str) -> str:
    """Return the text in lower case, its letters and digits alone: as a prefix is compared."""
    return compact_words([fold(text)])


def words_of(text: str) -> list[str]:
    """Return the words of a short text, such as a category, in lower case."""
    return [_key(word) for word in _words(text)[1]]


def compact_words(words: Iterable[str]) -> str:
    """Return the words, in lower case, as `compact` returns a text of them."""
    return "".join(char for word in words for char in word if char.isalnum() or char in "+#")


def _key(word: Word) -> str:
    """Return a word of a title in lower case, and as a query with it would be folded."""
    return word.text.lower() if word.has_han or word.text.isascii() else fold(word.text)


def pinyin(words: Sequence[str]) -> Sounds | None:
    """Return the sounds of words in lower case; None without Chinese characters.

    Latin words are written out in all of them: iphone手机壳 is iphoneshoujike and iphonesjk.
    """
    if not any(_HAN.search(word) for word in words):
        return None
    syllables = [syllable for word in words for syllable in _syllables(word)]
    initials = [one[:1] if is_chinese else one for one, is_chinese in syllables]
    wholes = [one for one, _ in syllables]
    ends = range(1, min(len(wholes), _MOST_MIXED + 1))
    return Sounds(
        whole="".join(wholes),
        initials="".join(initials),
        mixed=tuple("".join(wholes[:end] + initials[end:]) for end in ends),
    )


@lru_cache(maxsize=16_384)
def _syllables(word: str) -> tuple[tuple[str, bool], ...]:
    """Return the syllables of a word, and whether each is a Chinese character's."""
    found: list[tuple[str, bool]] = []
    for piece in _SOUNDED.findall(word):
        is_chinese = is_han(piece)
        syllables = syllables_of(piece) if is_chinese else (piece,)
        found += [(syllable, is_chinese) for syllable in syllables]
    return tuple(found)


def _words(title: str) -> tuple[str, list[Word]]:
    """Return the title as it is shown, and its words, spaces and signs left out."""
    shown = " ".join(unicodedata.normalize("NFKC", title).split())
    simplified = plain(shown)
    if len(simplified) != len(shown):  # then places in one are none in the other
        shown = simplified
    words: list[Word] = []
    for text, start, end in rjieba.tokenize(simplified, "default"):
        has_han = not text.isascii() and _HAN.search(text) is not None
        word = Word(text, start, end, has_han)
        if words and words[-1].end == start and _is_latin(words[-1]) and _is_latin(word):
            words[-1] = Word(words[-1].text + text, words[-1].start, end, has_han=False)
        elif not text.isspace():
            words.append(word)
    return shown, [word for word in words if word.has_han or any(map(str.isalnum, word.text))]


def _is_latin(word: Word) -> bool:
    return not word.has_han and all(char in _SIGNS or char.isalnum() for char in word.text)


def _runs(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Yield the words that follow each other, with a space between Latin ones at most.

    A number ends a run, but for one after a Latin word (iPhone 15), and takes its unit with it.
    """
    run: list[Word] = []
    number_ends = -1
    for word in words:
        is_unit = word.start == number_ends and (len(word.text) == 1 or word.text.endswith("装"))
        if run and not _follows(run[-1], word):
            yield run
            run = []
        measured = None if word.has_han else _NUMBER.fullmatch(word.text)
        is_measure = measured is not None and (not measured[1] or measured[1].lower() in _UNITS)
        is_model = is_measure and bool(run) and not run[-1].has_han and word.text.isdigit()
        if is_unit or (is_measure and not is_model):
            if run:
                yield run
                run = []
        else:
            run.append(word)
        number_ends = word.end if is_measure else -1
    if run:
        yield run


def _follows(one: Word, other: Word) -> bool:
    """Return whether two words are of one phrase: side by side, or Latin with a space between."""
    gap = other.start - one.end
    return gap == 0 or (gap == 1 and not one.has_han and not other.has_han)
