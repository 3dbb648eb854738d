"""Pages of an answer: one hit of each group, each once, whoever becomes the best meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, strategies as st

from product_search.search.pages import BoundHit, Page, best_of_groups

GROUPS = st.none() | st.sampled_from("abc")


def hits_of(groups: Sequence[str | None]) -> list[BoundHit]:
    return [BoundHit(place, 100 + place, group) for place, group in enumerate(groups)]


def products(hits: Sequence[BoundHit]) -> list[int]:
    return [one.product_id for one in hits]


def test_the_first_of_each_group_stands_for_it() -> None:
    hits = hits_of(["a", None, "a", "b", None, "b"])
    assert products(best_of_groups(hits)) == [100, 101, 103, 104]


def test_without_groups_all_stand_for_themselves() -> None:
    hits = hits_of([None] * 4)
    assert best_of_groups(hits) is hits


@given(st.lists(GROUPS, max_size=30), st.integers(1, 7))
def test_pages_put_together_are_the_best_of_each_group(groups: list[str | None], size: int) -> None:
    hits = hits_of(groups)
    found: list[int] = []
    seen: frozenset[int] | None = frozenset()
    while seen is not None:
        page = Page(seen, 0, size)
        assert page.skipped == len(found)
        found += products(page.shown(hits))
        seen = page.seen_after(hits)
    assert found == products(best_of_groups(hits))
    by_offset = [Page(frozenset(), offset, size) for offset in range(0, len(found), size)]
    assert [one for page in by_offset for one in products(page.shown(hits))] == found


def test_a_group_that_was_seen_does_not_come_again_by_a_new_best() -> None:
    hits = hits_of(["a", "b", "a", "c"])
    seen = Page(frozenset(), 0, 1).seen_after(hits)
    assert seen == frozenset({100})
    better = [BoundHit(9, 999, "a"), *hits]
    assert products(Page(seen, 0, 5).shown(better)) == [101, 103]


def test_an_offset_is_seen_with_the_page_after_it() -> None:
    hits = hits_of([None, "a", "a", None, "b"])
    page = Page(frozenset(), 1, 2)
    assert products(page.shown(hits)) == [101, 103]
    assert page.seen_after(hits) == frozenset({100, 101, 103})
    assert Page(frozenset(), 1, 3).seen_after(hits) is None
