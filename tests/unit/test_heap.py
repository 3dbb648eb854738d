"""Garbage collections while a service runs, and after it."""

from __future__ import annotations

import gc
import weakref

from product_search.heap import rare_collections


class Node:
    """Part of a cycle."""

    def __init__(self) -> None:
        self.me = self


def test_what_is_there_is_left_out_of_collections_until_the_end() -> None:
    threshold, old = gc.get_threshold(), Node()
    with rare_collections():
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > threshold[0]
        young = Node()
        known = weakref.ref(old), weakref.ref(young)
        del old, young
        gc.collect()
        assert (known[0]() is None, known[1]() is None) == (False, True)
    gc.collect()
    assert known[0]() is None
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, threshold)
