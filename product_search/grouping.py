"""Things that pairs hold together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


def grouped(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The groups of two or more, each in order, by their first member."""
    leaders: dict[int, int] = {}

    def leader(one: int) -> int:
        while (above := leaders.setdefault(one, one)) != one:
            leaders[one] = leaders[above]  # halves the way for whoever comes next
            one = above
        return one

    for first, second in pairs:
        low, high = sorted((leader(first), leader(second)))
        leaders[high] = low
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for one in sorted(leaders):
        groups[leader(one)].append(one)
    return [groups[first] for first in sorted(groups)]
