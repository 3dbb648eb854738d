"""What every vector database and its collections keep to; the fixture names the backends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from data_models import DENSE_FIELDS, SearchFilters
from product_search.errors import VectorStoreUnavailable
from product_search.milvus.entities import EntityState
from product_search.milvus.hits import Hit
from product_search.milvus.searches import EntitySearch, TermSearch, VectorSearch, hits_or_raise
from tests.contract.entities import (
    ALL,
    BGE,
    BIG_KEYS,
    DIM,
    DIMS,
    IMAGE,
    TEXT,
    at,
    entity,
    found,
    unit,
)
from tests.hostile import HOSTILE
from vector_db import EntityCollection, VectorDatabase

NAME = "product_v1_000000000000"


@pytest.fixture
def entities(backend: VectorDatabase) -> Iterator[EntityCollection]:
    """An empty collection; making a new one for each test would take seconds."""
    entities = backend.ensure_collection(NAME, DIMS)
    yield entities
    entities.delete([*range(1, 100), *BIG_KEYS])


def test_a_new_collection_is_empty(entities: EntityCollection) -> None:
    assert entities.count() == 0
    assert found(entities) == []


def test_a_collection_that_is_open_answers_a_ping_and_is_listed(backend: VectorDatabase) -> None:
    name = "product_v1_dddddddddddd"
    assert name not in backend.list_collections()
    backend.ensure_collection(name, DIMS).ping()
    assert name in backend.list_collections()


def test_a_collection_is_there_once_it_is_opened_and_gone_once_it_is_dropped(
    backend: VectorDatabase,
) -> None:
    name = "product_v1_eeeeeeeeeeee"
    assert not backend.has_collection(name)
    backend.ensure_collection(name, DIMS)
    backend.ensure_collection(name, DIMS)
    assert backend.has_collection(name)
    backend.drop_collection(name)
    backend.drop_collection(name)
    assert not backend.has_collection(name)


def test_a_collection_that_is_dropped_while_it_is_open_is_told(backend: VectorDatabase) -> None:
    name = "product_v1_eeeeeeeeeeee"
    entities = backend.ensure_collection(name, DIMS)
    backend.drop_collection(name)
    for use in (entities.ping, lambda: found(entities), lambda: entities.upsert([entity(1)])):
        with pytest.raises(VectorStoreUnavailable, match="重启服务"):
            use()


def test_collections_do_not_see_each_other(backend: VectorDatabase) -> None:
    one = backend.ensure_collection("product_v1_aaaaaaaaaaaa", DIMS)
    other = backend.ensure_collection("product_v1_bbbbbbbbbbbb", DIMS)
    one.upsert([entity(1)])
    other.upsert([entity(2)])
    assert found(one) == [1]
    assert found(other) == [2]
    assert found(backend.ensure_collection("product_v1_aaaaaaaaaaaa", DIMS)) == [1]


def test_an_upsert_again_changes_nothing(entities: EntityCollection) -> None:
    for _ in range(3):
        entities.upsert([entity(1), entity(2, unit(1))])
    assert entities.count() == 2
    assert found(entities) == [1, 2]


def test_an_upsert_replaces_the_entity_whole(entities: EntityCollection) -> None:
    entities.upsert([entity(1, brand="旧", category="旧", price=Decimal("5.00"))])
    entities.upsert([entity(1, unit(1), brand="新", image_clip_vector=None)])
    assert entities.count() == 1
    assert found(entities, brand="旧") == []
    assert found(entities, category="旧") == []
    assert found(entities, price={"gte": 0}) == []
    assert found(entities, IMAGE) == []
    (hit,) = entities.search(BGE, unit(1), 10, SearchFilters(brand=["新"]))
    assert hit.score == pytest.approx(1)


def test_a_primary_key_may_have_63_bits(entities: EntityCollection) -> None:
    keys = [1, *BIG_KEYS]
    entities.upsert([entity(key, at(1 - place / 10)) for place, key in enumerate(keys)])
    assert found(entities) == keys


def test_hits_come_by_falling_cosine(entities: EntityCollection) -> None:
    cosines = [0.3, 1.0, -0.5, 0.9, 0.0, -1.0]
    entities.upsert([entity(key, at(cosine)) for key, cosine in enumerate(cosines, start=1)])
    hits = entities.search(BGE, unit(0), 10, ALL)
    assert [hit.milvus_id for hit in hits] == [2, 4, 1, 5, 3, 6]
    assert [hit.score for hit in hits] == pytest.approx(sorted(cosines, reverse=True), abs=1e-5)
    assert {hit.field for hit in hits} == {BGE}
    assert all(-1 <= hit.score <= 1 for hit in hits)


def test_the_score_is_the_cosine_whatever_the_lengths(entities: EntityCollection) -> None:
    entities.upsert([entity(1, at(0.6) * np.float32(5))])
    (hit,) = entities.search(BGE, unit(0) * np.float32(0.1), 10, ALL)
    assert hit.score == pytest.approx(0.6, abs=1e-5)


def test_each_field_is_searched_by_itself(entities: EntityCollection) -> None:
    vectors = {f"{field}": unit(place) for place, field in enumerate(DENSE_FIELDS)}
    entities.upsert([entity(1, **vectors)])
    for place, field in enumerate(DENSE_FIELDS):
        (hit,) = entities.search(field, unit(place), 10, ALL)
        assert hit.field is field
        assert hit.score == pytest.approx(1)


def test_the_limit_is_kept(entities: EntityCollection) -> None:
    entities.upsert([entity(key) for key in range(1, 31)])
    assert len(entities.search(BGE, unit(0), 7, ALL)) == 7
    assert len(entities.search(BGE, unit(0), 1_000_000, ALL)) == 30


def test_a_write_is_seen_by_the_next_search(entities: EntityCollection) -> None:
    for key in range(1, 6):
        entities.upsert([entity(key)])
        assert entities.count() == key
        assert key in found(entities)


def test_deleted_entities_are_gone_and_unknown_ones_do_no_harm(entities: EntityCollection) -> None:
    entities.upsert([entity(1), entity(2), entity(3)])
    entities.delete([2, 99, 2**63 - 1])
    entities.delete([2])
    entities.delete([])
    assert sorted(found(entities)) == [1, 3]
    assert entities.count() == 2


def test_nothing_to_write_is_nothing_written(entities: EntityCollection) -> None:
    entities.upsert([])
    assert entities.count() == 0


def test_a_product_without_an_image_is_never_in_the_image_leg(entities: EntityCollection) -> None:
    entities.upsert([entity(1), entity(2, image_clip_vector=None), entity(3, at(-1.0))])
    assert found(entities, IMAGE) == [1, 3]
    assert found(entities, IMAGE, np.ones(DIM, np.float32)) == [1, 3]
    assert sorted(found(entities, TEXT)) == [1, 2, 3]
    assert found(entities, IMAGE, brand="没有") == []


@pytest.mark.parametrize("field", ["image_clip_vector", "text_clip_vector", "text_bge_vector"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_refused_and_nothing_is_written(
    entities: EntityCollection, field: str, value: float
) -> None:
    broken = unit(0)
    broken[3] = value
    with pytest.raises(ValueError, match=field):
        entities.upsert([entity(1), entity(2, **{field: broken})])
    assert entities.count() == 0


def keep_hostile(entities: EntityCollection) -> None:
    entities.upsert(
        [entity(key, brand=text, category=text) for key, text in enumerate(HOSTILE, start=1)]
    )


def test_every_text_matches_itself_and_nothing_else(entities: EntityCollection) -> None:
    keep_hostile(entities)
    for key, text in enumerate(HOSTILE, start=1):
        assert found(entities, brand=text) == [key], ascii(text)
        assert found(entities, category=text) == [key], ascii(text)


def test_a_list_of_texts_matches_any_of_them(entities: EntityCollection) -> None:
    keep_hostile(entities)
    assert sorted(found(entities, brand=HOSTILE)) == list(range(1, len(HOSTILE) + 1))
    assert sorted(found(entities, brand=HOSTILE[5:9], category=HOSTILE[7:20])) == [8, 9]
    hundred = [f'{number}\\\n"{"x" * 80}' for number in range(99)]
    assert found(entities, brand=["plain", *hundred]) == [1]


@pytest.fixture(scope="module")
def stocked(backend: VectorDatabase) -> EntityCollection:
    """The hostile texts, in a collection that generated cases share."""
    entities = backend.ensure_collection("product_v1_cccccccccccc", DIMS)
    keep_hostile(entities)
    return entities


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=100), min_size=1, max_size=4))
def test_any_text_is_a_filter_and_never_an_expression(
    stocked: EntityCollection, texts: Sequence[str]
) -> None:
    wanted = {key for key, text in enumerate(HOSTILE, start=1) if text in texts}
    assert set(found(stocked, brand=list(texts))) - {1_000} == wanted


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=100))
def test_any_text_is_kept_and_found_again(stocked: EntityCollection, text: str) -> None:
    stocked.upsert([entity(1_000, title=text, brand=text)])
    assert 1_000 in found(stocked, brand=text)


@pytest.mark.parametrize(
    ("prices", "wanted"),
    [
        ({"gte": 0}, [1, 2, 3, 4]),
        ({"lte": 0}, [1]),
        ({"gte": "0.01"}, [2, 3, 4]),
        ({"lte": "0.01"}, [1, 2]),
        ({"gte": "19.99", "lte": "19.99"}, [3]),
        ({"gte": "9999999999.99"}, [4]),
        ({"gte": "0.02", "lte": "19.98"}, []),
    ],
    ids=str,
)
def test_prices_are_compared_exactly(
    entities: EntityCollection, prices: dict[str, Any], wanted: list[int]
) -> None:
    amounts = [Decimal("0.00"), Decimal("0.01"), Decimal("19.99"), Decimal("9999999999.99"), None]
    entities.upsert([entity(key, price=price) for key, price in enumerate(amounts, start=1)])
    assert sorted(found(entities, price=prices)) == wanted


# The longest that the API allows; four bytes a character is the most that UTF-8 takes.
LONGEST = {
    "cjk": ("红" * 500, "红" * 100),
    "emoji": ("🎒" * 500, "🎒" * 100),
    "controls": ("\x01" * 500, "\x01" * 100),
    "c1 controls": ("\x85" * 500, "\x85" * 100),
    "backslashes": ("\\" * 500, "\\" * 100),
    "quotes": ('"' * 500, '"' * 100),
}


@pytest.mark.parametrize(("title", "label"), LONGEST.values(), ids=LONGEST)
def test_the_longest_texts_are_kept_whole(
    entities: EntityCollection, title: str, label: str
) -> None:
    entities.upsert(
        [entity(1, title=title, brand=label, category=label), entity(2, brand=label[1:])]
    )
    assert found(entities, brand=label, category=label) == [1]
    assert found(entities, brand=label[1:]) == [2]


def scanned(entities: EntityCollection, page: int) -> list[EntityState]:
    """The whole collection, walked in pages."""
    states: list[EntityState] = []
    last = -1
    while part := entities.scan(last, page):
        assert len(part) <= page
        states += part
        last = part[-1].milvus_id
    return states


def test_a_scan_tells_each_entity(entities: EntityCollection) -> None:
    picture = "ab" * 32
    entities.upsert(
        [
            entity(2, product_id=20, revision=7, image_path=picture),
            entity(1, product_id=10, image_path=None, image_clip_vector=None),
        ]
    )
    assert entities.scan(-1, 10) == [
        EntityState(1, 10, 1, "000000000000", has_image=False, image_path=None),
        EntityState(2, 20, 7, "000000000000", has_image=True, image_path=picture),
    ]
    assert [state.milvus_id for state in entities.scan(1, 10)] == [2]
    assert entities.scan(2, 10) == []


@pytest.mark.parametrize("page", [1, 7, 16_384, 1_000_000])
def test_a_scan_goes_up_the_keys_and_misses_none(entities: EntityCollection, page: int) -> None:
    keys = [*range(1, 60), *BIG_KEYS]
    entities.upsert([entity(key) for key in reversed(keys)])
    entities.upsert([entity(key, revision=2) for key in keys[10:30]])
    entities.delete(keys[20:25])
    states = scanned(entities, page)
    assert [state.milvus_id for state in states] == keys[:20] + keys[25:]
    assert {state.milvus_id for state in states if state.revision == 2} == {
        *keys[10:20],
        *keys[25:30],
    }


def test_the_states_of_some_entities_are_those_that_are_there(entities: EntityCollection) -> None:
    entities.upsert([entity(1), entity(2, revision=7), entity(BIG_KEYS[1])])
    states = entities.states([2, 3, BIG_KEYS[1]])
    assert {state.milvus_id: state.revision for state in states} == {2: 7, BIG_KEYS[1]: 1}
    assert len(entities.states(range(5_000))) == 2


def test_a_collection_that_exists_is_opened_beside_another(
    backend: VectorDatabase, entities: EntityCollection
) -> None:
    name = "product_v1_aaaaaaaaaaaa"
    other = backend.ensure_collection(name, DIMS)
    other.delete([1, 2])
    other.upsert([entity(7)])
    entities.upsert([entity(1)])
    opened = backend.open_collection(name)
    assert [state.milvus_id for state in opened.scan(-1, 10)] == [7]
    assert [state.milvus_id for state in entities.scan(-1, 10)] == [1]
    assert {name, NAME} <= set(backend.list_collections())
    opened.delete([7])


def test_a_scan_of_more_than_a_query_may_give_is_in_pages(backend: VectorDatabase) -> None:
    entities = backend.ensure_collection("product_v1_ffffffffffff", DIMS)
    keys = np.random.default_rng(0).permutation(17_000) * 2**40
    entities.upsert([entity(int(key)) for key in keys])
    assert len(entities.scan(-1, 1_000_000)) == 16_384
    assert [state.milvus_id for state in scanned(entities, 1_000_000)] == sorted(keys)
    entities.delete([int(key) for key in keys])
    assert entities.count() == 0


def test_terms_are_looked_for_in_these_entities_alone_and_weigh_as_in_all(
    entities: EntityCollection,
) -> None:
    texts = {1: "红 书包", 2: "蓝 书包", 3: "雨伞", 4: "书包 书包 大"}
    entities.upsert([entity(key, search_text=text) for key, text in texts.items()])
    everywhere = {hit.milvus_id: hit for hit in entities.search_text("书包 红", 9, ALL)}
    assert set(everywhere) == {1, 2, 4}
    some = entities.search_text("书包 红", 9, ALL, only=[4, 3, 2, 77])
    assert {hit.milvus_id: hit for hit in some} == {key: everywhere[key] for key in (2, 4)}
    cheap = SearchFilters.model_validate({"category": ["没有"]})
    assert not entities.search_text("书包", 9, cheap, only=[1, 2])


def test_searches_of_many_threads_find_what_each_finds_alone(entities: EntityCollection) -> None:
    keys = range(1, 80)
    entities.upsert([entity(key, unit(key % 7), text_bge_vector=unit(key % 5)) for key in keys])
    searches: list[EntitySearch] = [
        VectorSearch(field, unit(turn), limit, filters, with_terms)
        for turn in range(6)
        for field in (IMAGE, BGE)
        for limit in (3, 64)
        for filters in (ALL, SearchFilters(has_image=True))
        for with_terms in (False, True)
    ]
    searches += [TermSearch("书包", limit, ALL) for limit in (3, 64)]

    def found(*some: EntitySearch) -> list[list[Hit]]:
        return [list(hits_or_raise(one)) for one in entities.search_all(some)]

    alone = [found(search) for search in searches]
    with ThreadPoolExecutor(16) as threads:
        for _ in range(3):
            assert list(threads.map(found, searches)) == alone
    assert found(*searches) == [hits for [hits] in alone]
