"""What searches show: how much of it fits, how much that fits it is, and when they say no match."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

PAGE = 10  # hits of a first page
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Showing:
    """Means over queries; 1 where there is nothing to take the mean of.

    `precision` and `recall` are of what is shown to queries that have a match, the precision where
    anything is; `told_precision` is the share of the queries that are told of no match that have
    none, `told_recall` the share told so of those for what is not sold, `lost` of those with a
    match.
    """

    precision: float
    recall: float
    told_precision: float
    told_recall: float
    lost: float


@dataclass(frozen=True, eq=False)
class Answer:
    """A query's hits: their confidences, and which of them fit.

    `has_match` where any product fits, `is_absent` where none is even a substitute.
    """

    confidences: Floats
    fits: Flags
    has_match: bool
    is_absent: bool


@dataclass(frozen=True, eq=False)
class Answers:
    """The hits of many queries, one after the other, and the queries.

    `query` is each hit's place among the queries, `best` each query's best confidence.
    """

    confidences: Floats
    fits: Flags
    query: NDArray[np.int64]
    best: Floats
    has_match: Flags
    is_absent: Flags

    @classmethod
    def join(cls, answers: Iterable[Answer]) -> Answers:
        """Join the answers to at least one query."""
        some = list(answers)
        return cls(
            confidences=np.concatenate([one.confidences for one in some]),
            fits=np.concatenate([one.fits for one in some]),
            query=np.repeat(np.arange(len(some)), [len(one.fits) for one in some]),
            best=np.array([one.confidences.max(initial=0.0) for one in some]),
            has_match=np.array([one.has_match for one in some]),
            is_absent=np.array([one.is_absent for one in some]),
        )

    def within_a_page(self) -> Answers:
        """Return the answers with a match for those alone that have it on their first page.

        Whom the page would have shown nothing that fits has lost nothing by being told so.
        """
        order = np.lexsort((-self.confidences, self.query))
        firsts = np.searchsorted(self.query, self.query)
        on_page = np.zeros(len(order), bool)
        on_page[order] = np.arange(len(order)) - firsts < PAGE
        return replace(self, has_match=self._count(on_page & self.fits) > 0)

    def showing(self, line: float, share: float) -> Showing:
        """Measure what is shown: this share of the best confidence, where that reaches the line."""
        least = np.where(self.best >= line, share * self.best, np.inf)
        shown = self.confidences >= least[self.query]
        count, right, fitting = (
            self._count(some) for some in (shown, shown & self.fits, self.fits)
        )
        told = count == 0
        with_fits = self.has_match & (fitting > 0)
        return Showing(
            precision=_mean(right[self.has_match & ~told] / count[self.has_match & ~told]),
            recall=_mean(right[with_fits] / fitting[with_fits]),
            told_precision=_mean(~self.has_match[told]),
            told_recall=_mean(told[self.is_absent]),
            lost=_mean(told[self.has_match]),
        )

    def _count(self, some: Flags) -> NDArray[np.int64]:
        """Return how many of these hits each query has."""
        return np.bincount(self.query[some], minlength=len(self.best))


def _mean(values: Floats | Flags) -> float:
    return float(values.mean()) if len(values) else 1.0
