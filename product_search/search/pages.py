"""Pages of an answer: of each group of variants the best, after what the client has seen; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple


class BoundHit(NamedTuple):
    """A recalled entity, by its place in the recall, and the product that it is bound to.

    `group` is the one that the product is a variant of; None where it stands for itself.
    """

    place: int
    product_id: int
    group: str | None = None

    @property
    def unit(self) -> int | str:
        """What is counted and shown as one: the group, or the product that has none."""
        return self.product_id if self.group is None else self.group


_group_of = attrgetter("group")


def best_of_groups(hits: Sequence[BoundHit]) -> Sequence[BoundHit]:
    """Return the first hit of each group and all without one, in their order."""
    if not any(map(_group_of, hits)):
        return hits
    best: dict[int | str, BoundHit] = {}
    for one in hits:
        best.setdefault(one.unit, one)
    return list(best.values())


@dataclass(frozen=True)
class Page:
    """Which of the hits a response shows: so many after those that the client has seen."""

    seen: frozenset[int]  # ids of products on pages before
    offset: int
    size: int

    @property
    def skipped(self) -> int:
        """How many hits come before the page."""
        return len(self.seen) + self.offset

    @property
    def end(self) -> int:
        """How many of the hits that are left have been seen after this page."""
        return self.offset + self.size

    def left(self, hits: Sequence[BoundHit]) -> Sequence[BoundHit]:
        """Return the best of each group of which the client has seen nothing yet.

        Another variant may have become the best of its group since the page before.
        """
        best = best_of_groups(hits)
        if not self.seen:
            return best
        seen = {one.unit for one in hits if one.product_id in self.seen}
        return [one for one in best if one.unit not in seen]

    def shown(self, hits: Sequence[BoundHit]) -> Sequence[BoundHit]:
        """Return the page's hits."""
        return self.left(hits)[self.offset : self.end]

    def seen_after(self, hits: Sequence[BoundHit]) -> frozenset[int] | None:
        """Return the ids of the products seen with this page; None where nothing is left then."""
        left = self.left(hits)
        if len(left) <= self.end:
            return None
        return self.seen.union(one.product_id for one in left[: self.end])
