"""Ranking maths: legs' hits into one order, by reciprocal rank; nothing here knows a store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class Part:
    """What one leg has added to an entity's fused score."""

    rank: int
    score: float
    contribution: float


@dataclass(frozen=True)
class Fused:
    """An entity, its fused score, and what each leg that found it has added."""

    milvus_id: int
    score: float
    parts: Mapping[str, Part]


def fuse(legs: Iterable[RankedLeg], constant: float = RANK_CONSTANT) -> list[Fused]:
    """Every entity that a leg found, best first; equal scores go by milvus_id.

    The order of the legs makes no difference: sums are exact before they are rounded.
    """
    parts: dict[int, dict[str, Part]] = {}
    for leg in legs:
        for rank, (milvus_id, score) in enumerate(leg.ranking, start=1):
            share = leg.weight * leg.factors.get(milvus_id, 1.0) / (constant + rank)
            parts.setdefault(milvus_id, {})[leg.name] = Part(rank, score, share)
    fused = [
        Fused(milvus_id, math.fsum(part.contribution for part in found.values()), found)
        for milvus_id, found in parts.items()
    ]
    return sorted(fused, key=lambda one: (-one.score, one.milvus_id))


def ranked(hits: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """Best first; equal scores go by milvus_id, whatever order they came in."""
    return sorted(hits, key=lambda hit: (-hit[1], hit[0]))


def ramp(value: float, low: float, high: float, floor: float = 0.05) -> float:
    """How far a leg's best score is on the way from `low`, what it gives to anything, to `high`."""
    return min(1.0, max(floor, (value - low) / (high - low)))


def cosines(query: NDArray[np.float32], vectors: Sequence[NDArray[np.float32]]) -> list[float]:
    """Of vectors that are not zero; in as many digits as a vector store's scores."""
    if not vectors:
        return []
    others = np.stack(vectors)
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(query)
    return [max(-1.0, min(1.0, round(float(one), 6))) for one in others @ query / lengths]
