from __future__ import annotations

from collections import Counter

from benchmarks.rig import words


def test_no_query_comes_twice_and_all_have_a_natural_length() -> None:
    made = words.queries(seed=1, count=12_000)
    assert len(set(made)) == len(made) == 12_000
    assert all(words.SHORTEST <= len(query) <= words.LONGEST for query in made)


def test_a_seed_makes_the_same_queries_and_products_again() -> None:
    assert words.queries(seed=3, count=500) == words.queries(seed=3, count=500)
    assert words.queries(seed=3, count=500) != words.queries(seed=4, count=500)
    assert list(words.products(seed=3, count=50)) == list(words.products(seed=3, count=50))


def test_repeated_traffic_asks_the_nth_query_about_an_nth_as_often_as_the_first() -> None:
    items = [str(rank) for rank in range(1, 1001)]
    drawn = Counter(words.zipf(seed=1, items=items, count=100_000))
    assert 8 < drawn["1"] / drawn["10"] < 12
    assert 80 < drawn["1"] / drawn["100"] < 125
