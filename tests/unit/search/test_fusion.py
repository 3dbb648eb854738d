"""Fusion by reciprocal rank: an order that is total, and the same whatever comes first."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, strategies as st

from product_search.search.fusion import (
    RANK_CONSTANT,
    LegRank,
    RankedLeg,
    as_found,
    best_first,
    cosines,
    fuse,
    ramp,
)

KEYS = st.integers(1, 30)
SCORES = st.floats(-1, 1, allow_nan=False)
WEIGHTS = st.floats(0, 10, allow_nan=False)


Fused = dict[int, tuple[float, dict[str, LegRank]]]  # in their order


def ranked(
    name: str, weight: float, scores: dict[int, float], factors: dict[int, float] | None = None
) -> RankedLeg:
    """A leg with these scores, and factors of some of its entities."""
    keys = np.array(list(scores), np.int64)
    values = np.array(list(scores.values()), np.float64)
    order = best_first(keys, values)
    keys, values = keys[order], values[order]
    of_each = (
        None if factors is None else np.array([factors.get(key, 1.0) for key in keys.tolist()])
    )
    return RankedLeg(name, weight, keys, values, of_each)


def fused(some: list[RankedLeg]) -> Fused:
    """All entities by their key, with their score and their rank in each leg, best first."""
    found = fuse(some)
    keys, scores = found.milvus_ids.tolist(), found.scores.tolist()
    assert len(set(keys)) == len(keys)
    pairs = enumerate(zip(keys, scores, strict=True))
    return {key: (score, found.ranks_of(place)) for place, (key, score) in pairs}


@st.composite
def legs(draw: st.DrawFn) -> list[RankedLeg]:
    names = draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=5, unique=True))
    return [
        ranked(
            name,
            draw(WEIGHTS),
            draw(st.dictionaries(KEYS, SCORES)),
            draw(st.none() | st.dictionaries(KEYS, st.floats(0, 1))),
        )
        for name in names
    ]


@given(legs(), st.randoms(use_true_random=False))
def test_the_order_of_the_legs_makes_no_difference(
    some: list[RankedLeg], shuffler: random.Random
) -> None:
    others = list(some)
    shuffler.shuffle(others)
    assert list(fused(others).items()) == list(fused(some).items())


@given(legs())
def test_every_entity_comes_once_in_falling_scores_and_ties_go_by_key(
    some: list[RankedLeg],
) -> None:
    found = fused(some)
    assert set(found) == {key for leg in some for key in leg.milvus_ids.tolist()}
    order = [(-score, key) for key, (score, _) in found.items()]
    assert order == sorted(order)


@given(legs())
def test_a_score_is_the_sum_of_what_the_legs_have_added(some: list[RankedLeg]) -> None:
    found = fused(some)
    for score, ranks in found.values():
        added = [part.contribution for part in ranks.values()]
        assert score == pytest.approx(math.fsum(added))
        assert all(value >= 0 for value in added)
    for leg in some:
        ranks_in_leg = [
            (ranks[leg.name].rank, key) for key, (_, ranks) in found.items() if leg.name in ranks
        ]
        assert [key for _, key in sorted(ranks_in_leg)] == leg.milvus_ids.tolist()


@given(legs(), KEYS)
def test_to_be_found_by_one_more_leg_never_lowers_a_score(some: list[RankedLeg], key: int) -> None:
    before = {one: score for one, (score, _) in fused(some).items()}
    after = {
        one: score for one, (score, _) in fused([*some, ranked("more", 1.0, {key: 0.5})]).items()
    }
    assert after[key] >= before.get(key, 0.0)
    assert {k: v for k, v in after.items() if k != key} == {
        k: v for k, v in before.items() if k != key
    }


def test_ranks_count_by_the_constant_the_weight_and_the_factor() -> None:
    found = fused([ranked("a", 2.0, {7: 0.9, 8: 0.8}, {8: 0.5})])
    assert found[7][0] == pytest.approx(2 / (RANK_CONSTANT + 1))
    assert found[8][0] == pytest.approx(2 * 0.5 / (RANK_CONSTANT + 2))
    assert (found[8][1]["a"].rank, found[8][1]["a"].score) == (2, 0.8)


def test_a_leg_that_stands_alone_keeps_its_scores() -> None:
    leg = ranked("a", 2.0, {7: 0.9, 8: 0.8})
    found = as_found(leg)
    assert (found.milvus_ids.tolist(), found.scores.tolist()) == ([7, 8], [0.9, 0.8])
    assert found.ranks_of(1) == {"a": LegRank(2, 0.8, 0.8)}


@pytest.mark.parametrize(
    ("value", "share"), [(0.1, 0.05), (0.3, 0.05), (0.4, 0.5), (0.5, 1.0), (0.9, 1.0)]
)
def test_a_ramp_goes_from_its_floor_to_one(value: float, share: float) -> None:
    assert ramp(value, 0.3, 0.5) == pytest.approx(share)


def test_cosines_are_of_directions_and_never_beyond_one() -> None:
    query = np.array([3, 4], np.float32)
    others = [query * 7, -query, np.array([4, -3], np.float32), np.array([1, 0], np.float32)]
    assert cosines(query, others) == [1.0, -1.0, 0.0, 0.6]
    assert cosines(query, []) == []
