"""Whether confidence means what it says: no match, reliability bins, Brier score, the diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BINS = 10


@dataclass(frozen=True)
class NoMatch:
    """Ids of the queries that were answered with no match, and of those that nothing fits."""

    predicted: frozenset[str]
    actual: frozenset[str]

    @property
    def precision(self) -> float:
        """Return the share of the predicted that is actual; 1 where none is predicted."""
        return self._agreed() / len(self.predicted) if self.predicted else 1.0

    @property
    def recall(self) -> float:
        """Return the share of the actual that is predicted; 1 where all have a match."""
        return self._agreed() / len(self.actual) if self.actual else 1.0

    def _agreed(self) -> int:
        return len(self.predicted & self.actual)


@dataclass(frozen=True)
class Bin:
    """Hits of nearly the same confidence: its mean, the share that fits, and how many."""

    confidence: float
    share: float
    count: int


@dataclass(frozen=True)
class Reliability:
    """The bins of one search mode, its Brier score and its expected calibration error."""

    bins: tuple[Bin, ...]
    brier: float
    error: float


def reliability(confidences: Sequence[float], fits: Sequence[bool]) -> Reliability:
    """Return the reliability of at least one hit, in bins of equal width without the empty ones."""
    values, truths = np.asarray(confidences), np.asarray(fits, float)
    places = np.minimum((values * BINS).astype(int), BINS - 1)
    bins = tuple(
        Bin(float(values[here].mean()), float(truths[here].mean()), int(here.sum()))
        for here in (places == place for place in range(BINS))
        if here.any()
    )
    error = sum(each.count * abs(each.confidence - each.share) for each in bins) / len(values)
    return Reliability(bins, float(np.mean((values - truths) ** 2)), error)


def plot(by_mode: Mapping[str, Reliability], path: Path) -> None:
    """Draw the share that fits by confidence, a line for each search mode."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for mode, measured in by_mode.items():
        axes.plot(
            [each.confidence for each in measured.bins],
            [each.share for each in measured.bins],
            marker="o",
            markersize=4,
            label=mode,
        )
    axes.set_xlabel("confidence")
    axes.set_ylabel("share of hits that fit")
    axes.legend()
    figure.savefig(path)
