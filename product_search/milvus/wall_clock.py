"""The wall clock by which Milvus Lite stamps entities, watched for being set back.

Milvus Lite shows an entity once its clock has passed the entity's stamp, which the file keeps, and
a deletion counts only for what was stamped before it. A clock that is set back hides what was
written last, and deletes nothing of it (decision 0035).
"""

from __future__ import annotations

import time
from typing import NamedTuple

# A step so small is waited out.
WAIT_S = 5.0
_READING_S = 0.001  # two readings of clocks differ by less
_STAMP_S = 0.01  # stamps are a few milliseconds ahead after very many rows


def wall_time() -> float:
    """Return the seconds since 1970."""
    return time.time()


class Moment(NamedTuple):
    """One moment by the wall clock and by one that nobody sets, in seconds."""

    wall: float
    steady: float

    @classmethod
    def now(cls) -> Moment:
        """Return the present moment."""
        return cls(wall_time(), time.monotonic())

    @property
    def was_set_back(self) -> bool:
        """Whether the wall clock is before this moment, which is past."""
        return wall_time() < self.wall


class WriteClock:
    """The latest stamp that an entity may have."""

    def __init__(self, latest: float) -> None:
        """Take the time of the last write, in seconds since 1970."""
        self._latest = latest

    @property
    def behind_s(self) -> float:
        """How long it takes the wall clock to pass the last write; 0 where it has."""
        behind = self._latest - wall_time()
        return behind + _STAMP_S if behind > _READING_S else 0.0

    def note_write(self, begun: Moment) -> None:
        """Note a write that ends now; the clock may have been set back meanwhile."""
        longest = begun.wall + time.monotonic() - begun.steady
        self._latest = max(self._latest, longest, wall_time())

    def accept(self) -> None:
        """Go by the wall clock as it is now: what it hides is dropped, and written anew."""
        self._latest = wall_time()
