"""The words of the lessons and of the questions: text files under words/, one entry a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent / "words"

Names = tuple[str, ...]


def photo_words() -> dict[str, Names]:
    """Class of a photo set (`grocery:0`) -> its title, then other texts, kind words last."""
    return dict(_entries("photos.txt"))


def emoji_names() -> dict[str, Names]:
    """Code point -> names of the thing that the emoji shows, the most usual first."""
    return dict(_entries("emoji.txt"))


def held_out_names() -> dict[str, Names]:
    """As `emoji_names`, of the 100 everyday objects whose 3D images are never trained on."""
    return dict(_entries("held_out.txt"))


def imagenet_names() -> list[Names]:
    """Names of the 1,000 ImageNet-1k classes, in the order of the classifier's rows."""
    named = {int(key): names for key, names in _entries("imagenet.txt")}
    return [named[index] for index in range(len(named))]


def paraphrases() -> dict[str, Names]:
    """Class of a photo set -> queries that mean it, written apart from the lessons.

    Those that the lessons happen to hold too, but for 的 and the like, are left out.
    """
    lessons = (photo_words(), emoji_names(), held_out_names())
    taught = {bare(name) for lesson in lessons for names in lesson.values() for name in names}
    written = dict(_entries("paraphrases.txt", "|"))
    return {key: tuple(t for t in texts if bare(t) not in taught) for key, texts in written.items()}


def bare(text: str) -> str:
    """Lower case without 的, spaces and marks: two texts that differ by these are the same."""
    return "".join(char for char in text.lower() if char.isalnum() and char != "的")


def unknown_queries() -> list[str]:
    """Queries for things that none of the photos shows."""
    return (FOLDER / "unknown.txt").read_text(encoding="utf-8").split()


def colour_queries() -> list[tuple[str, str]]:
    """Queries with the basic colour that each asks for, or `-` where it asks for none."""
    return [(query, colour) for query, (colour,) in _entries("colours.txt", "|")]


def _entries(name: str, separator: str | None = None) -> Iterator[tuple[str, Names]]:
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        key, *names = line.split(separator)
        yield key, tuple(names)
