"""The threshold of the duplicates' page."""

from __future__ import annotations

from data_models import DuplicateGroup, DuplicatePair, Why
from product_search.demo.views.duplicates import split_group


def group(*pairs: tuple[int, int, float]) -> DuplicateGroup:
    ids = sorted({one for first, second, _ in pairs for one in (first, second)})
    found = [
        DuplicatePair(product_ids=(first, second), why=Why.embedding, similarity=similarity)
        for first, second, similarity in pairs
    ]
    return DuplicateGroup(product_ids=ids, size=len(ids), pairs=found)


CHAIN = group((1, 2, 0.99), (2, 3, 0.86), (3, 4, 0.95), (4, 5, 0.9))


def test_a_group_is_whole_as_long_as_all_its_pairs_count() -> None:
    assert [part.product_ids for part in split_group(CHAIN, 0.86)] == [[1, 2, 3, 4, 5]]


def test_without_its_weak_pairs_it_falls_apart() -> None:
    assert [part.product_ids for part in split_group(CHAIN, 0.88)] == [[1, 2], [3, 4, 5]]
    assert [part.product_ids for part in split_group(CHAIN, 0.92)] == [[1, 2], [3, 4]]
    assert split_group(CHAIN, 1) == []


def test_a_part_has_its_own_pairs_alone() -> None:
    first, second = split_group(CHAIN, 0.88)
    assert [pair.product_ids for pair in first.pairs] == [(1, 2)]
    assert [pair.product_ids for pair in second.pairs] == [(3, 4), (4, 5)]


def test_what_is_told_of_a_product_is_its_closest_pair() -> None:
    whole = split_group(CHAIN, 0.8)[0]
    assert whole.closest(2).similarity == 0.99
    assert whole.closest(3).product_ids == (3, 4)
    assert whole.closest(5).similarity == 0.9
