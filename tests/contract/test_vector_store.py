"""What every VectorStore keeps to; the backends are the fixture's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from data_models import DENSE_FIELDS, SearchFilters
from product_search.errors import VectorStoreUnavailable
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
from vector_db import EntityState, VectorStore


@pytest.fixture
def store(backend: VectorStore) -> Iterator[VectorStore]:
    """An empty collection; making a new one for each test would take seconds."""
    backend.open_collection("product_v1_000000000000", DIMS)
    yield backend
    backend.open_collection("product_v1_000000000000", DIMS)
    backend.delete([*range(1, 100), *BIG_KEYS])


def test_a_new_collection_is_empty(store: VectorStore) -> None:
    assert store.count() == 0
    assert found(store) == []


def test_a_store_answers_a_ping_before_and_after_a_collection_is_open(backend: VectorStore) -> None:
    name = "product_v1_dddddddddddd"
    backend.ping()
    backend.open_collection(name, DIMS)
    backend.ping()
    assert name in backend.collections()


def test_a_collection_is_there_once_it_is_opened_and_gone_once_it_is_dropped(
    backend: VectorStore,
) -> None:
    name = "product_v1_eeeeeeeeeeee"
    assert not backend.has_collection(name)
    backend.open_collection(name, DIMS)
    backend.open_collection(name, DIMS)
    assert backend.has_collection(name)
    backend.drop_collection(name)
    backend.drop_collection(name)
    assert not backend.has_collection(name)


def test_a_collection_that_is_dropped_while_it_is_open_is_told(backend: VectorStore) -> None:
    name = "product_v1_eeeeeeeeeeee"
    backend.open_collection(name, DIMS)
    backend.beside().drop_collection(name)
    for use in (backend.ping, lambda: found(backend), lambda: backend.upsert([entity(1)])):
        with pytest.raises(VectorStoreUnavailable, match="重启服务"):
            use()


def test_collections_do_not_see_each_other(backend: VectorStore) -> None:
    for name, key in (("product_v1_aaaaaaaaaaaa", 1), ("product_v1_bbbbbbbbbbbb", 2)):
        backend.open_collection(name, DIMS)
        backend.upsert([entity(key)])
        assert found(backend) == [key]
    backend.open_collection("product_v1_aaaaaaaaaaaa", DIMS)
    assert found(backend) == [1]


def test_an_upsert_again_changes_nothing(store: VectorStore) -> None:
    for _ in range(3):
        store.upsert([entity(1), entity(2, unit(1))])
    assert store.count() == 2
    assert found(store) == [1, 2]


def test_an_upsert_replaces_the_entity_whole(store: VectorStore) -> None:
    store.upsert([entity(1, brand="旧", category="旧", price=Decimal("5.00"))])
    store.upsert([entity(1, unit(1), brand="新", image_clip_vector=None)])
    assert store.count() == 1
    assert found(store, brand="旧") == []
    assert found(store, category="旧") == []
    assert found(store, price={"gte": 0}) == []
    assert found(store, IMAGE) == []
    (hit,) = store.search(BGE, unit(1), 10, SearchFilters(brand=["新"]))
    assert hit.score == pytest.approx(1)


def test_a_primary_key_may_have_63_bits(store: VectorStore) -> None:
    keys = [1, *BIG_KEYS]
    store.upsert([entity(key, at(1 - place / 10)) for place, key in enumerate(keys)])
    assert found(store) == keys


def test_hits_come_by_falling_cosine(store: VectorStore) -> None:
    cosines = [0.3, 1.0, -0.5, 0.9, 0.0, -1.0]
    store.upsert([entity(key, at(cosine)) for key, cosine in enumerate(cosines, start=1)])
    hits = store.search(BGE, unit(0), 10, ALL)
    assert [hit.milvus_id for hit in hits] == [2, 4, 1, 5, 3, 6]
    assert [hit.score for hit in hits] == pytest.approx(sorted(cosines, reverse=True), abs=1e-5)
    assert {hit.field for hit in hits} == {BGE}
    assert all(-1 <= hit.score <= 1 for hit in hits)


def test_the_score_is_the_cosine_whatever_the_lengths(store: VectorStore) -> None:
    store.upsert([entity(1, at(0.6) * np.float32(5))])
    (hit,) = store.search(BGE, unit(0) * np.float32(0.1), 10, ALL)
    assert hit.score == pytest.approx(0.6, abs=1e-5)


def test_each_field_is_searched_by_itself(store: VectorStore) -> None:
    vectors = {f"{field}": unit(place) for place, field in enumerate(DENSE_FIELDS)}
    store.upsert([entity(1, **vectors)])
    for place, field in enumerate(DENSE_FIELDS):
        (hit,) = store.search(field, unit(place), 10, ALL)
        assert hit.field is field
        assert hit.score == pytest.approx(1)


def test_the_limit_is_kept(store: VectorStore) -> None:
    store.upsert([entity(key) for key in range(1, 31)])
    assert len(store.search(BGE, unit(0), 7, ALL)) == 7
    assert len(store.search(BGE, unit(0), 1_000_000, ALL)) == 30


def test_a_write_is_seen_by_the_next_search(store: VectorStore) -> None:
    for key in range(1, 6):
        store.upsert([entity(key)])
        assert store.count() == key
        assert key in found(store)


def test_deleted_entities_are_gone_and_unknown_ones_do_no_harm(store: VectorStore) -> None:
    store.upsert([entity(1), entity(2), entity(3)])
    store.delete([2, 99, 2**63 - 1])
    store.delete([2])
    store.delete([])
    assert sorted(found(store)) == [1, 3]
    assert store.count() == 2


def test_nothing_to_write_is_nothing_written(store: VectorStore) -> None:
    store.upsert([])
    assert store.count() == 0


def test_a_product_without_an_image_is_never_in_the_image_leg(store: VectorStore) -> None:
    store.upsert([entity(1), entity(2, image_clip_vector=None), entity(3, at(-1.0))])
    assert found(store, IMAGE) == [1, 3]
    assert found(store, IMAGE, np.ones(DIM, np.float32)) == [1, 3]
    assert sorted(found(store, TEXT)) == [1, 2, 3]
    assert found(store, IMAGE, brand="没有") == []


@pytest.mark.parametrize("field", ["image_clip_vector", "text_clip_vector", "text_bge_vector"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_refused_and_nothing_is_written(
    store: VectorStore, field: str, value: float
) -> None:
    broken = unit(0)
    broken[3] = value
    with pytest.raises(ValueError, match=field):
        store.upsert([entity(1), entity(2, **{field: broken})])
    assert store.count() == 0


def keep_hostile(store: VectorStore) -> None:
    store.upsert(
        [entity(key, brand=text, category=text) for key, text in enumerate(HOSTILE, start=1)]
    )


def test_every_text_matches_itself_and_nothing_else(store: VectorStore) -> None:
    keep_hostile(store)
    for key, text in enumerate(HOSTILE, start=1):
        assert found(store, brand=text) == [key], ascii(text)
        assert found(store, category=text) == [key], ascii(text)


def test_a_list_of_texts_matches_any_of_them(store: VectorStore) -> None:
    keep_hostile(store)
    assert sorted(found(store, brand=HOSTILE)) == list(range(1, len(HOSTILE) + 1))
    assert sorted(found(store, brand=HOSTILE[5:9], category=HOSTILE[7:20])) == [8, 9]
    hundred = [f'{number}\\\n"{"x" * 80}' for number in range(99)]
    assert found(store, brand=["plain", *hundred]) == [1]


@pytest.fixture(scope="module")
def stocked(backend: VectorStore) -> VectorStore:
    """The hostile texts, in a collection that generated cases share."""
    backend.open_collection("product_v1_cccccccccccc", DIMS)
    keep_hostile(backend)
    return backend


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=100), min_size=1, max_size=4))
def test_any_text_is_a_filter_and_never_an_expression(
    stocked: VectorStore, texts: Sequence[str]
) -> None:
    stocked.open_collection("product_v1_cccccccccccc", DIMS)
    wanted = {key for key, text in enumerate(HOSTILE, start=1) if text in texts}
    assert set(found(stocked, brand=list(texts))) - {1_000} == wanted


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=100))
def test_any_text_is_kept_and_found_again(stocked: VectorStore, text: str) -> None:
    stocked.open_collection("product_v1_cccccccccccc", DIMS)
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
    store: VectorStore, prices: dict[str, Any], wanted: list[int]
) -> None:
    amounts = [Decimal("0.00"), Decimal("0.01"), Decimal("19.99"), Decimal("9999999999.99"), None]
    store.upsert([entity(key, price=price) for key, price in enumerate(amounts, start=1)])
    assert sorted(found(store, price=prices)) == wanted


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
def test_the_longest_texts_are_kept_whole(store: VectorStore, title: str, label: str) -> None:
    store.upsert([entity(1, title=title, brand=label, category=label), entity(2, brand=label[1:])])
    assert found(store, brand=label, category=label) == [1]
    assert found(store, brand=label[1:]) == [2]


def scanned(store: VectorStore, page: int) -> list[EntityState]:
    """The whole collection, walked in pages."""
    states: list[EntityState] = []
    last = -1
    while part := store.scan(last, page):
        assert len(part) <= page
        states += part
        last = part[-1].milvus_id
    return states


def test_a_scan_tells_each_entity(store: VectorStore) -> None:
    picture = "ab" * 32
    store.upsert(
        [
            entity(2, product_id=20, revision=7, image_path=picture),
            entity(1, product_id=10, image_path=None, image_clip_vector=None),
        ]
    )
    assert store.scan(-1, 10) == [
        EntityState(1, 10, 1, "000000000000", has_image=False, image_path=None),
        EntityState(2, 20, 7, "000000000000", has_image=True, image_path=picture),
    ]
    assert [state.milvus_id for state in store.scan(1, 10)] == [2]
    assert store.scan(2, 10) == []


@pytest.mark.parametrize("page", [1, 7, 16_384, 1_000_000])
def test_a_scan_goes_up_the_keys_and_misses_none(store: VectorStore, page: int) -> None:
    keys = [*range(1, 60), *BIG_KEYS]
    store.upsert([entity(key) for key in reversed(keys)])
    store.upsert([entity(key, revision=2) for key in keys[10:30]])
    store.delete(keys[20:25])
    states = scanned(store, page)
    assert [state.milvus_id for state in states] == keys[:20] + keys[25:]
    assert {state.milvus_id for state in states if state.revision == 2} == {
        *keys[10:20],
        *keys[25:30],
    }


def test_the_states_of_some_entities_are_those_that_are_there(store: VectorStore) -> None:
    store.upsert([entity(1), entity(2, revision=7), entity(BIG_KEYS[1])])
    states = store.states([2, 3, BIG_KEYS[1]])
    assert {state.milvus_id: state.revision for state in states} == {2: 7, BIG_KEYS[1]: 1}
    assert len(store.states(range(5_000))) == 2


def test_a_view_reads_another_collection_beside_the_one_that_is_open(store: VectorStore) -> None:
    store.open_collection("product_v1_aaaaaaaaaaaa", DIMS)
    store.delete([1, 2])
    store.upsert([entity(7)])
    store.open_collection("product_v1_000000000000", DIMS)
    store.upsert([entity(1)])
    view = store.view("product_v1_aaaaaaaaaaaa")
    assert [state.milvus_id for state in view.scan(-1, 10)] == [7]
    assert [state.milvus_id for state in store.scan(-1, 10)] == [1]
    assert {"product_v1_aaaaaaaaaaaa", "product_v1_000000000000"} <= set(store.collections())
    view.delete([7])


def test_a_scan_of_more_than_a_query_may_give_is_in_pages(backend: VectorStore) -> None:
    backend.open_collection("product_v1_ffffffffffff", DIMS)
    keys = np.random.default_rng(0).permutation(17_000) * 2**40
    backend.upsert([entity(int(key)) for key in keys])
    assert len(backend.scan(-1, 1_000_000)) == 16_384
    assert [state.milvus_id for state in scanned(backend, 1_000_000)] == sorted(keys)
    backend.delete([int(key) for key in keys])
    assert backend.count() == 0


def test_terms_are_looked_for_in_these_entities_alone_and_weigh_as_in_all(
    store: VectorStore,
) -> None:
    texts = {1: "红 书包", 2: "蓝 书包", 3: "雨伞", 4: "书包 书包 大"}
    store.upsert([entity(key, search_text=text) for key, text in texts.items()])
    everywhere = {hit.milvus_id: hit for hit in store.search_text("书包 红", 9, ALL)}
    assert set(everywhere) == {1, 2, 4}
    some = store.search_text("书包 红", 9, ALL, only=[4, 3, 2, 77])
    assert {hit.milvus_id: hit for hit in some} == {key: everywhere[key] for key in (2, 4)}
    cheap = SearchFilters.model_validate({"category": ["没有"]})
    assert store.search_text("书包", 9, cheap, only=[1, 2]) == []
