"""Whether a confidence means what it says: bins, Brier score, and the diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Hits with nearly the same confidence: its mean, the share that fits, and how many."""

    confidence: float
    share: float
    count: int


@dataclass(frozen=True)
class Reliability:
    """Of one way to search: the bins, the Brier score and the expected calibration error."""

    bins: tuple[Bin, ...]
    brier: float
    error: float


def reliability(confidences: Sequence[float], fits: Sequence[bool]) -> Reliability:
    """Of at least one hit; bins are of equal width, and empty ones are left out."""
    values, truths = np.asarray(confidences), np.asarray(fits, float)
    places = np.minimum((values * BINS).astype(int), BINS - 1)
    bins = tuple(
        Bin(float(values[here].mean()), float(truths[here].mean()), int(here.sum()))
        for here in (places == place for place in range(BINS))
        if here.any()
    )
    error = sum(one.count * abs(one.confidence - one.share) for one in bins) / len(values)
    return Reliability(bins, float(np.mean((values - truths) ** 2)), error)


def plot(found: Mapping[str, Reliability], path: Path) -> None:
    """The share that fits by confidence, a line for each way to search."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for name, one in found.items():
        axes.plot(
            [each.confidence for each in one.bins],
            [each.share for each in one.bins],
            marker="o",
            markersize=4,
            label=name,
        )
    axes.set_xlabel("confidence")
    axes.set_ylabel("share of hits that fit")
    axes.legend()
    figure.savefig(path)
