"""Cursors: what was written is read, and nothing else."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from product_search.errors import CursorInvalid, CursorStale
from product_search.search.cursors import Cursors, open_key, search_hash

CURSORS = Cursors(b"k" * 32)
SEARCH = search_hash({"text": "雨伞"})
SOME = CURSORS.write(SEARCH, "product_v2_a", frozenset({3, 1, 2}))


@given(st.frozensets(st.integers(1, 2**63 - 1), max_size=300))
def test_what_was_seen_is_read_again(product_ids: frozenset[int]) -> None:
    cursor = CURSORS.write(SEARCH, "product_v2_a", product_ids)
    assert CURSORS.read(cursor, SEARCH, "product_v2_a") == product_ids


@given(st.integers(0, len(SOME) - 1), st.characters(codec="ascii"))
def test_one_other_character_is_a_forgery(place: int, char: str) -> None:
    forged = SOME[:place] + char + SOME[place + 1 :]
    if forged != SOME:
        with pytest.raises(CursorInvalid):
            CURSORS.read(forged, SEARCH, "product_v2_a")


@given(st.integers(0, len(SOME)), st.characters(codec="utf-8"))
def test_one_more_character_is_a_forgery(place: int, char: str) -> None:
    with pytest.raises(CursorInvalid):
        CURSORS.read(SOME[:place] + char + SOME[place:], SEARCH, "product_v2_a")


@pytest.mark.parametrize("junk", ["!", "\n", " ", "=", "==", "é", "\0"])
def test_junk_after_a_cursor_is_a_forgery(junk: str) -> None:
    with pytest.raises(CursorInvalid):
        CURSORS.read(SOME + junk, SEARCH, "product_v2_a")


@pytest.mark.parametrize("text", ["", "x", "雨伞", "====", base64.b64encode(b"0" * 40).decode()])
def test_what_was_never_written_is_refused(text: str) -> None:
    with pytest.raises(CursorInvalid):
        CURSORS.read(text, SEARCH, "product_v2_a")


def test_a_cursor_is_of_one_search_one_collection_and_one_key() -> None:
    with pytest.raises(CursorInvalid, match="另一个搜索"):
        CURSORS.read(SOME, search_hash({"text": "雨"}), "product_v2_a")
    with pytest.raises(CursorStale):
        CURSORS.read(SOME, SEARCH, "product_v2_b")
    with pytest.raises(CursorInvalid):
        Cursors(b"other" * 8).read(SOME, SEARCH, "product_v2_a")


def test_ten_thousand_products_fit_into_a_request() -> None:
    cursor = CURSORS.write(SEARCH, "product_v2_a", frozenset(range(1, 2_000_000, 200)))
    assert len(cursor) < 20_000


def test_what_was_given_out_before_is_read() -> None:
    # Of a release that compressed whatever grew shorter by it.
    compressed = (
        ".eJyLVipW0lEqKMpPKU0uiS8zik9U0jHUMTIwIIRjAcK5DbM"
        ".uX9UBueKlNx8sbZGBhnpkkZetXN-Mxsj4Xes84M9s6rPH09Wtu1-9GojOQ8MAfuy"
    )
    seen = frozenset(range(1, 2001, 200))
    assert Cursors(b"k" * 32).read(compressed, "s", "product_v2_a") == seen


def test_the_key_is_drawn_once_and_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "cursor.key"
    key = open_key(path)
    assert len(key) == 32
    assert open_key(path) == key
    assert path.stat().st_mode & 0o077 == 0
    assert [one.name for one in tmp_path.iterdir()] == ["cursor.key"]
