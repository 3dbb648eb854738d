"""What every product was at every moment, and whether answers have shown it so."""

from __future__ import annotations

import threading
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass
class Version:
    """What a product was, and from when to when an answer may show it."""

    content: Hashable
    begin: float
    end: float = float("inf")


class Seen(NamedTuple):
    """A product as an answer showed it to a request that ran from `begin` to `end`."""

    key: Hashable
    content: Hashable
    begin: float
    end: float


@dataclass
class Versions:
    """The versions of all products by key, and what answers said otherwise."""

    of: dict[Hashable, list[Version]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    doubtful: list[Seen] = field(default_factory=list)
    hits: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def may_be(
        self, key: Hashable, possible: Collection[Hashable], begin: float, end: float
    ) -> None:
        """Note what a product may be after a write that was sent at `begin` and over at `end`.

        None of it: the product is gone. All else that it was before ends with the write.
        """
        with self.lock:
            versions = self.of.setdefault(key, [])
            living = [one for one in versions if one.end == float("inf")]
            for one in living:
                if one.content not in possible:
                    one.end = end
            there = {one.content for one in living}
            versions += [Version(one, begin) for one in possible if one not in there]

    def check(self, shown: Iterable[tuple[Hashable, Hashable]], begin: float, end: float) -> None:
        """Compare keys and contents with what they were while the request ran."""
        seen = [Seen(key, content, begin, end) for key, content in shown]
        with self.lock:
            self.hits += len(seen)
            self.doubtful += [one for one in seen if not self._was(one)]

    def conclude(self) -> None:
        """Compare again what was not known: a write may have been found before it was answered."""
        with self.lock:
            self.wrong += [str(one) for one in self.doubtful if not self._was(one)]
            self.doubtful.clear()

    def _was(self, seen: Seen) -> bool:
        return any(
            one.content == seen.content and one.begin <= seen.end and one.end >= seen.begin
            for one in self.of.get(seen.key, [])
        )
