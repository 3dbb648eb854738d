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


_notes: list[str] = []


def note(line: str) -> None:
    """A line below the table."""
    _notes.append(line)


def lines() -> Iterator[str]:
    """The table and the notes, where there is anything in them."""
    rows = [_HEADINGS, *(tuple(str(cell) for cell in vars(one).values()) for one in _tallies)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows if _tallies else []:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield from _notes
