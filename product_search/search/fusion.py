"""Ranking maths: legs' hits in one order, by reciprocal rank; pure, without a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int64]
Floats = NDArray[np.float64]

# Cormack et al. (SIGIR 2009) use 60 for long lists. Where the first few ranks decide, as in a
# shop, a small one is better: measured on the tuning half (docs/decisions/0014).
RANK_CONSTANT = 8.0


@dataclass(frozen=True, eq=False)
class RankedLeg:
    """One leg's entities, best first, and how much its ranks count.

    `weight` counts for the whole leg, `factors` for each entity (1 where there are none).
    """

    name: str
    weight: float
    milvus_ids: Keys
    scores: Floats
    factors: Floats | None = None


class LegRank(NamedTuple):
    """An entity's rank and score in one leg, and what these contribute to its fused score."""

    rank: int
    score: float
    contribution: float


@dataclass(frozen=True, eq=False)
class FusedHits:
    """Every entity that a leg found, best first, column by column.

    What has a row for each leg is (legs, entities); a rank is 0 where the leg did not find the
    entity.
    """

    milvus_ids: Keys
    scores: Floats
    legs: Sequence[str]  # names
    ranks: Keys
    leg_scores: Floats
    contributions: Floats

    def at(self, places: NDArray[np.intp]) -> FusedHits:
        """Return the entities at these places."""
        return FusedHits(
            self.milvus_ids[places],
            self.scores[places],
            self.legs,
            self.ranks[:, places],
            self.leg_scores[:, places],
            self.contributions[:, places],
        )

    def followed_by(self, rest: FusedHits) -> FusedHits:
        """Return these entities, then the rest, which the same legs found."""
        return FusedHits(
            np.concatenate([self.milvus_ids, rest.milvus_ids]),
            np.concatenate([self.scores, rest.scores]),
            self.legs,
            np.concatenate([self.ranks, rest.ranks], axis=1),
            np.concatenate([self.leg_scores, rest.leg_scores], axis=1),
            np.concatenate([self.contributions, rest.contributions], axis=1),
        )

    def ranks_of(self, place: int) -> dict[str, LegRank]:
        """Return the entity's rank in each leg that found it, by the leg's name."""
        return {
            name: LegRank(int(rank), float(score), float(contribution))
            for name, rank, score, contribution in zip(
                self.legs,
                self.ranks[:, place],
                self.leg_scores[:, place],
                self.contributions[:, place],
                strict=True,
            )
            if rank
        }


def fuse(legs: Iterable[RankedLeg], constant: float = RANK_CONSTANT) -> FusedHits:
    """Return every entity that a leg found, best first; equal scores go by milvus_id.

    The order of the legs makes no difference: contributions are added in that of their names.
    """
    ordered = sorted(legs, key=lambda leg: leg.name)
    keys = unique_keys(leg.milvus_ids for leg in ordered)
    ranks = np.zeros((len(ordered), len(keys)), np.int64)
    scores, contributions = np.zeros((2, *ranks.shape))
    for row, leg in enumerate(ordered):
        places = np.searchsorted(keys, leg.milvus_ids)
        counted = np.arange(1, len(places) + 1)
        shares = leg.weight / (constant + counted)
        ranks[row, places] = counted
        scores[row, places] = leg.scores
        contributions[row, places] = shares if leg.factors is None else shares * leg.factors
    fused = np.zeros(len(keys))
    for row in contributions:
        fused += row
    order = np.argsort(-fused, kind="stable")  # of the keys, which are sorted
    return FusedHits(
        keys[order],
        fused[order],
        [leg.name for leg in ordered],
        ranks[:, order],
        scores[:, order],
        contributions[:, order],
    )


def as_found(leg: RankedLeg) -> FusedHits:
    """Return the entities of a leg that stands alone: their scores are the leg's own."""
    ranks = np.arange(1, len(leg.milvus_ids) + 1)[None]
    scores = leg.scores[None]
    return FusedHits(leg.milvus_ids, leg.scores, [leg.name], ranks, scores, scores)


def as_listed(milvus_ids: Keys) -> FusedHits:
    """Return entities that no leg has looked for, in this order: the score of each is 0."""
    of_legs = np.zeros((0, len(milvus_ids)))
    ranks = np.zeros(of_legs.shape, np.int64)
    return FusedHits(milvus_ids, np.zeros(len(milvus_ids)), [], ranks, of_legs, of_legs)


def unique_keys(some: Iterable[Keys]) -> Keys:
    """Return each key once, in rising order."""
    keys = np.sort(np.concatenate([np.zeros(0, np.int64), *some]))
    is_first = np.ones(len(keys), bool)
    is_first[1:] = keys[1:] != keys[:-1]
    return keys[is_first]


def best_first(milvus_ids: Keys, scores: Floats) -> NDArray[np.intp]:
    """Return the places of the entities, best first; equal scores go by milvus_id."""
    return np.lexsort((milvus_ids, -scores))


def ramp(value: float, low: float, high: float, floor: float = 0.05) -> float:
    """Return how far the value is on the way from `low` (`floor`) to `high` (1).

    The value is a leg's best score, `low` the best score that anything gets, `high` the one from
    which the leg counts in full.
    """
    return min(1.0, max(floor, (value - low) / (high - low)))


def cosines(query: NDArray[np.float32], vectors: Sequence[NDArray[np.float32]]) -> list[float]:
    """Return the cosine of the query with each vector, in as many digits as a store's scores.

    No vector may be zero.
    """
    if not vectors:
        return []
    others = np.stack(vectors)
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(query)
    return [max(-1.0, min(1.0, round(float(one), 6))) for one in others @ query / lengths]
