"""Fusion by reciprocal rank: an order that is total, and the same whatever comes first."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, strategies as st

from product_search.search.fusion import RANK_CONSTANT, RankedLeg, cosines, fuse, ramp, rank_hits

KEYS = st.integers(1, 30)
SCORES = st.floats(-1, 1, allow_nan=False)
WEIGHTS = st.floats(0, 10, allow_nan=False)


@st.composite
def legs(draw: st.DrawFn) -> list[RankedLeg]:
    names = draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=5, unique=True))
    return [
        RankedLeg(
            name,
            draw(WEIGHTS),
            rank_hits(draw(st.dictionaries(KEYS, SCORES)).items()),
            draw(st.dictionaries(KEYS, st.floats(0, 1))),
        )
        for name in names
    ]


@given(legs(), st.randoms(use_true_random=False))
def test_the_order_of_the_legs_makes_no_difference(
    some: list[RankedLeg], shuffler: random.Random
) -> None:
    others = list(some)
    shuffler.shuffle(others)
    assert fuse(others) == fuse(some)


@given(legs())
def test_every_entity_comes_once_in_falling_scores_and_ties_go_by_key(
    some: list[RankedLeg],
) -> None:
    fused = fuse(some)
    assert {one.milvus_id for one in fused} == {key for leg in some for key, _ in leg.ranking}
    order = [(-one.score, one.milvus_id) for one in fused]
    assert order == sorted(set(order))


@given(legs())
def test_a_score_is_the_sum_of_what_the_legs_have_added(some: list[RankedLeg]) -> None:
    for one in fuse(some):
        added = [part.contribution for part in one.ranks.values()]
        assert one.score == math.fsum(added)
        assert all(value >= 0 for value in added)


@given(legs(), KEYS)
def test_to_be_found_by_one_more_leg_never_lowers_a_score(some: list[RankedLeg], key: int) -> None:
    before = {one.milvus_id: one.score for one in fuse(some)}
    more = [*some, RankedLeg("more", 1.0, [(key, 0.5)])]
    after = {one.milvus_id: one.score for one in fuse(more)}
    assert after[key] >= before.get(key, 0.0)
    assert {k: v for k, v in after.items() if k != key} == {
        k: v for k, v in before.items() if k != key
    }


def test_ranks_count_by_the_constant_the_weight_and_the_factor() -> None:
    (first, second) = fuse([RankedLeg("a", 2.0, [(7, 0.9), (8, 0.8)], {8: 0.5})])
    assert first.score == pytest.approx(2 / (RANK_CONSTANT + 1))
    assert second.score == pytest.approx(2 * 0.5 / (RANK_CONSTANT + 2))
    assert (second.ranks["a"].rank, second.ranks["a"].score) == (2, 0.8)


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
