"""Words for training and for the report: text files under words/, one entry a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent / "words"

Names = tuple[str, ...]


def photo_words() -> dict[str, Names]:
    """Return, by class of a photo set (`grocery:0`), its title, other texts, kind words last."""
    return dict(_entries("photos.txt"))


def emoji_names() -> dict[str, Names]:
    """Return, by code point, the names of what the emoji shows, the most usual first."""
    return dict(_entries("emoji.txt"))


def held_out_names() -> dict[str, Names]:
    """Return `emoji_names` of the 100 everyday objects whose 3D images are never trained on."""
    return dict(_entries("held_out.txt"))


def imagenet_names() -> list[Names]:
    """Return the names of the 1,000 ImageNet-1k classes, in the classifier's order."""
    named = {int(key): names for key, names in _entries("imagenet.txt")}
    return [named[index] for index in range(len(named))]


def paraphrases() -> dict[str, Names]:
    """Return, by class of a photo set, queries that mean it and are no training text.

    Texts that differ from a training text by 的, spaces or marks alone are left out.
    """
    sources = (photo_words(), emoji_names(), held_out_names())
    trained = {canonical(name) for source in sources for names in source.values() for name in names}
    written = dict(_entries("paraphrases.txt", "|"))
    return {
        key: tuple(t for t in texts if canonical(t) not in trained)
        for key, texts in written.items()
    }


def canonical(text: str) -> str:
    """Return the text in lower case without 的, spaces and marks."""
    return "".join(char for char in text.lower() if char.isalnum() and char != "的")


def unknown_queries() -> list[str]:
    """Return queries for what none of the photos shows."""
    return (FOLDER / "unknown.txt").read_text(encoding="utf-8").split()


def colour_queries() -> list[tuple[str, str]]:
    """Return queries with the basic colour that each asks for, or `-` for none."""
    return [(query, colour) for query, (colour,) in _entries("colours.txt", "|")]


def _entries(name: str, separator: str | None = None) -> Iterator[tuple[str, Names]]:
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        key, *names = line.split(separator)
        yield key, tuple(names)
