"""Groups of numbers that pairs hold together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


def group_pairs(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the connected groups of two or more, sorted, in the order of their first members."""
    leaders: dict[int, int] = {}

    def leader(member: int) -> int:
        while (above := leaders.setdefault(member, member)) != member:
            leaders[member] = leaders[above]  # halves the way for the next look-up
            member = above
        return member

    for first, second in pairs:
        low, high = sorted((leader(first), leader(second)))
        leaders[high] = low
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for member in sorted(leaders):
        groups[leader(member)].append(member)
    return [groups[first] for first in sorted(groups)]
