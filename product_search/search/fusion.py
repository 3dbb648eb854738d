"""Ranking maths: legs' hits in one order, by reciprocal rank; pure, without a store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Cormack et al. (SIGIR 2009) use 60 for long lists. Where the first few ranks decide, as in a
# shop, a small one is better: measured on the tuning half (docs/decisions/0014).
RANK_CONSTANT = 8.0


@dataclass(frozen=True)
class RankedLeg:
    """One leg's entities, best first, and how much its ranks count.

    `weight` counts for the whole leg, `factors` for single entities of it (1 where none is given).
    """

    name: str
    weight: float
    ranking: Sequence[tuple[int, float]]  # milvus_id and score
    factors: Mapping[int, float] = field(default_factory=dict)


class LegRank(NamedTuple):
    """An entity's rank and score in one leg, and what these contribute to its fused score."""

    rank: int
    score: float
    contribution: float


class FusedHit(NamedTuple):
    """An entity, its fused score, and its rank in each leg that found it."""

    milvus_id: int
    score: float
    ranks: Mapping[str, LegRank]  # by the leg's name


def fuse(legs: Iterable[RankedLeg], constant: float = RANK_CONSTANT) -> list[FusedHit]:
    """Return every entity that a leg found, best first; equal scores go by milvus_id.

    The order of the legs makes no difference: sums are exact before they are rounded.
    """
    ranks: dict[int, dict[str, LegRank]] = {}
    for leg in legs:
        name, weight, factors = leg.name, leg.weight, leg.factors
        for rank, (milvus_id, score) in enumerate(leg.ranking, start=1):
            share = weight * factors.get(milvus_id, 1.0) / (constant + rank)
            ranks.setdefault(milvus_id, {})[name] = LegRank(rank, score, share)
    fused = [
        FusedHit(milvus_id, math.fsum([one.contribution for one in by_leg.values()]), by_leg)
        for milvus_id, by_leg in ranks.items()
    ]
    return sorted(fused, key=lambda hit: (-hit.score, hit.milvus_id))


def rank_hits(hits: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return pairs of milvus_id and score, best first; equal scores go by milvus_id."""
    return sorted(hits, key=lambda hit: (-hit[1], hit[0]))


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
