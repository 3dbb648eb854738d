"""Synonyms: groups of words that mean the same, from a file that the operator edits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from product_search.errors import StartError
from product_search.text.analysis import fold

_COMMA = re.compile("[,，]")
_LATIN = re.compile("[a-z0-9]")


class WordWithSynonyms(NamedTuple):
    """A word of a folded query, where it begins and ends, and its synonyms."""

    start: int
    end: int
    synonyms: tuple[str, ...]


class Synonyms:
    """Groups of words that mean the same."""

    def __init__(self, path: Path) -> None:
        """Read the file: one group a line, as synonyms.txt explains.

        Raises:
            StartError: the file can't be read, or a line is wrong, which the message names.
        """
        self._groups = _groups(path)
        self._by_first: dict[str, list[str]] = {}  # the words, by their first character
        for word in self._groups:
            self._by_first.setdefault(word[0], []).append(word)

    def find(self, folded: str) -> list[WordWithSynonyms]:
        """Return the words of a folded query that have synonyms, in its order.

        Where words overlap the longest counts, and of these the first.
        """
        kept: list[WordWithSynonyms] = []
        is_taken = bytearray(len(folded))
        for word in sorted(self._find_all(folded), key=lambda one: (one.start - one.end, one)):
            if not any(is_taken[word.start : word.end]):
                is_taken[word.start : word.end] = b"\1" * (word.end - word.start)
                kept.append(word)
        return sorted(kept)

    def of_kind(self, char: str) -> list[str]:
        """Return what is called otherwise of all that is called by a word with this last character.

        These are 巴士 and 出租 for 车, which ends 公交车: not what ends in it too.
        """
        groups = {
            others
            for word, others in self._groups.items()
            if word.endswith(char) and len(word) > len(char)
        }
        found = dict.fromkeys(other for others in sorted(groups) for other in others)
        return [other for other in found if not other.endswith(char)]

    def _find_all(self, text: str) -> Iterator[WordWithSynonyms]:
        for start, first in enumerate(text):
            for word in self._by_first.get(first, ()):
                end = start + len(word)
                if text.startswith(word, start) and _is_whole(text, start, end):
                    others = tuple(other for other in self._groups[word] if other != word)
                    yield WordWithSynonyms(start, end, others)


def _is_whole(text: str, start: int, end: int) -> bool:
    """Return whether no Latin word is cut at either end: cap is not in landscape."""
    cuts = (text[max(0, start - 1) : start + 1], text[end - 1 : end + 1])
    return not any(len(_LATIN.findall(cut)) == 2 for cut in cuts)


def _groups(path: Path) -> dict[str, tuple[str, ...]]:
    """Return each word, folded, with all the words of its group."""
    groups: dict[str, tuple[str, ...]] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        text = line.partition("#")[0].strip()
        words = tuple(dict.fromkeys(map(fold, _COMMA.split(text)))) if text else ()
        for word in words:
            if not word:
                raise StartError(f"同义词文件 {path} 第 {number} 行：逗号旁边没有词")
            if word in lines:
                both = f"第 {lines[word]} 行和第 {number} 行"
                raise StartError(f"同义词文件 {path}：“{word}”在{both}都有，请并为一组")
        groups |= dict.fromkeys(words, words)
        lines |= dict.fromkeys(words, number)
    return groups


def _lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StartError(f"同义词文件 {path} 无法读取：{error.strerror}") from error
    try:
        return content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise StartError(f"同义词文件 {path} 第 {number} 行不是 UTF-8") from error
