"""What the faults came to: a row for each step on each backend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_HEADINGS = ("step", "backend", "rounds", "kills", "acknowledged", "unanswered", "drift")


@dataclass
class Tally:
    """One row of the table."""

    step: str
    backend: str
    rounds: int = 0
    kills: int = 0
    acknowledged: int = 0
    unanswered: int = 0
    drift: int = 0


_tallies: list[Tally] = []


def tally(step: str, backend: str) -> Tally:
    """A new row."""
    _tallies.append(Tally(step, backend))
    return _tallies[-1]


def lines() -> Iterator[str]:
    """The table, where there is anything in it."""
    rows = [_HEADINGS, *(tuple(str(cell) for cell in vars(one).values()) for one in _tallies)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows if _tallies else []:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
