"""Filters in Milvus: keys and values are never syntax; what passes is what passes in Python."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from data_models import SearchFilters
from product_search.milvus.filters import passes
from product_search.milvus.options import MilvusOptions
from tests.contract.entities import BGE, DIMS, IMAGE, entity, unit
from tests.hostile import HOSTILE
from vector_db import EntityCollection, MilvusDatabase, VectorDatabase

# Keys and values that collide often; those that Milvus or JSON might take for others.
KEYS = [
    "颜色",
    "",
    "a",
    "a/b",
    "a~1b",
    "~0",
    "\\",
    "\\\\",
    "a.b",
    "a']['b",
    'a"] == 1 or attributes["a',
    "$meta",
    "0",
    "\n",
]
TEXTS = [
    "",
    "红",
    "1",
    "true",
    "1.0",
    "null",
    'a"b',
    "\\",
    "\\x5c",
    "\x00",
    '"] or true or "a" in ["',
]
NUMBERS = [0, 1, -1, 1.0, 0.5, -0.5, 1e-7, 5e-324, 1e308, 2**53, 2**53 + 1, 2**63 - 1, -(2**63) + 1]
scalars = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(NUMBERS),
    st.booleans(),
    st.text(max_size=5),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
held = st.recursive(
    scalars | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=6,
)
keys = st.sampled_from(KEYS) | st.text(max_size=5)
kept_attributes = st.dictionaries(keys, held, max_size=5)
numbers = st.sampled_from(NUMBERS) | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def ranges(draw: st.DrawFn) -> dict[str, float]:
    low, high = sorted([draw(numbers), draw(numbers)], key=float)
    lower = draw(st.sampled_from([{"gte": low}, {"gt": low}, {}]))
    upper = draw(st.sampled_from([{"lte": high}, {"lt": high}]))
    return {**lower, **upper}


conditions = scalars | st.lists(scalars, min_size=1, max_size=6) | ranges()
asked = st.dictionaries(keys, conditions, min_size=1, max_size=3)


@pytest.fixture
def entities(backend: VectorDatabase) -> Iterator[EntityCollection]:
    """An empty collection; making a new one for each test would take seconds."""
    entities = backend.ensure_collection("product_v1_000000000000", DIMS)
    yield entities
    entities.delete(list(range(1, 200)))


def passing(entities: EntityCollection, field: Any = BGE, **filters: Any) -> set[int]:
    hits = entities.search(field, unit(0), 200, SearchFilters.model_validate(filters))
    return {hit.milvus_id for hit in hits}


@pytest.fixture(scope="module")
def stocked(backend: VectorDatabase) -> EntityCollection:
    """A collection that generated cases share; each replaces all that is in it."""
    return backend.ensure_collection("product_v1_cccccccccccc", DIMS)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(kept_attributes, min_size=1, max_size=12),
    st.lists(asked, min_size=1, max_size=8),
    st.data(),
)
def test_what_passes_in_milvus_is_what_passes_in_python(
    stocked: EntityCollection,
    products: list[dict[str, Any]],
    questions: list[dict[str, Any]],
    data: st.DataObject,
) -> None:
    stocked.delete(list(range(1, 20)))
    stocked.upsert([entity(key, attributes=kept) for key, kept in enumerate(products, start=1)])
    there = [pair for kept in products for pair in _askable(kept)]
    if there:  # else most questions would be of what no product has
        questions = [*questions, *(dict([pair]) for pair in data.draw(st.permutations(there))[:8])]
    for question in questions:
        filters = SearchFilters.model_validate({"attributes": question})
        wanted = {key for key, kept in enumerate(products, start=1) if passes(kept, filters)}
        assert passing(stocked, attributes=question) == wanted, question


def _askable(kept: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in kept.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str | bool | int | float):
                yield key, one


def test_each_hostile_key_and_value_finds_its_own_product(entities: EntityCollection) -> None:
    entities.upsert([entity(key, attributes={text: text}) for key, text in enumerate(HOSTILE, 1)])
    for key, text in enumerate(HOSTILE, 1):
        assert passing(entities, attributes={text: text}) == {key}, ascii(text)
        assert passing(entities, attributes={text: HOSTILE}) == {key}, ascii(text)
        assert passing(entities, attributes={text: "没有"}) == set(), ascii(text)
        assert passing(entities, attributes={text: {"gte": 0}}) == set(), ascii(text)


def test_each_hostile_element_of_a_list_finds_the_list(entities: EntityCollection) -> None:
    entities.upsert(
        [
            entity(1, attributes={"l": HOSTILE}),
            entity(2, attributes={"l": [[text] for text in HOSTILE]}),
        ]
    )
    for text in HOSTILE:
        assert passing(entities, attributes={"l": text}) == {1}, ascii(text)
    assert (
        passing(entities, attributes={"l": [text + "。" for text in HOSTILE if len(text) < 100]})
        == set()
    )


def test_as_many_conditions_as_a_filter_may_have_are_one_search(entities: EntityCollection) -> None:
    keys = [f'{place}"\\\n' * 20 for place in range(20)]
    values = [f"{place}\x01" * 33 for place in range(100)]
    one, some = dict.fromkeys(keys, values[99]), dict.fromkeys(keys, values[98:])
    entities.upsert([entity(1, attributes=one), entity(2, attributes=some), entity(3)])
    assert passing(entities, attributes=dict.fromkeys(keys, values)) == {1, 2}
    entities.upsert([entity(4, attributes=dict.fromkeys(keys, 5))])
    ends = {"gte": 5, "gt": 4, "lte": 5, "lt": 6}
    whole = {"category": ["a"], "price": {"gte": 0, "lte": 1}, "has_image": True}
    assert passing(entities, attributes=dict.fromkeys(keys, ends)) == {4}
    assert passing(entities, attributes=dict.fromkeys(keys, ends), **whole) == set()


def test_long_lists_are_told_apart_by_many_at_once(entities: EntityCollection) -> None:
    words = [f"词{place}{'长' * (place % 40)}" for place in range(160)]
    entities.upsert([entity(key, attributes={"l": words[key : key + 3]}) for key in range(1, 120)])
    some = [words[120:], words[1:2], words[60:160], [*words[5:100:9], 1.0, True]] * 20

    def asked(values: list[Any]) -> bool:
        wanted = {key for key in range(1, 120) if {*words[key : key + 3]} & {*values}}
        return passing(entities, attributes={"l": values}) == wanted

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(asked, some))


def test_the_largest_attributes_are_found_by_their_last(entities: EntityCollection) -> None:
    largest = {f"{place:03}": "🎒" * 99 for place in range(143)}
    assert 15_500 < len(str(largest)) <= 16_000
    entities.upsert([entity(1, attributes=largest)])
    assert passing(entities, attributes={"142": "🎒" * 99}) == {1}


def test_products_with_and_without_an_image_are_parted(entities: EntityCollection) -> None:
    entities.upsert([entity(1), entity(2, image_clip_vector=None)])
    assert passing(entities, has_image=True) == {1}
    assert passing(entities, has_image=False) == {2}
    assert passing(entities, IMAGE, has_image=False) == set()


def test_moments_are_compared_to_the_microsecond(entities: EntityCollection) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    moments = [datetime(1, 1, 1, tzinfo=UTC), noon - tick, noon, noon + tick]
    entities.upsert([entity(key, created_at=moment) for key, moment in enumerate(moments, 1)])
    assert passing(entities, created_at={"gte": noon}) == {3, 4}
    assert passing(entities, created_at={"lte": noon}) == {1, 2, 3}
    assert passing(entities, created_at={"gte": "2026-01-01T20:00:00+08:00", "lte": noon}) == {3}
    assert passing(entities, created_at={"lte": "0001-01-01T00:00:00Z"}) == {1}


def test_a_filtered_search_asks_an_inverted_file_for_all_its_lists(tmp_path: Path) -> None:
    vector_database = MilvusDatabase(tmp_path / "milvus.db", "here", MilvusOptions("IVF_FLAT"))
    try:
        entities = vector_database.ensure_collection("product_v1_000000000000", DIMS)
        entities.upsert(
            [entity(key, unit(key), brand="甲" if key % 2 else "乙") for key in range(1, 9)]
        )
        assert passing(entities, brand="甲") == {1, 3, 5, 7}
    finally:
        vector_database.close()
