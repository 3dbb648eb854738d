"""Whether a word is English: such a word is no typo, even where no product has it."""

from __future__ import annotations

from functools import cache
from importlib import resources

_WORDS = "frequency_dictionary_en_82_765.txt"  # each with its frequency


def is_english(word: str) -> bool:
    """Return whether the word, in lower case, is an English one."""
    return word in _words()


@cache
def _words() -> frozenset[str]:
    lines = (resources.files("symspellpy") / _WORDS).read_text("utf-8-sig").splitlines()
    return frozenset(line.partition(" ")[0] for line in lines)
