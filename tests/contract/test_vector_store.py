"""What every VectorStore keeps to; the backends are the fixture's parameters."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from data_models import SearchFilters, VectorField
from product_search.settings import ROOT
from tests.hostile import HOSTILE
from vector_db import Entity, MilvusStore, Vector, VectorFileBusy, VectorStore

DIM = 8
DIMS = dict.fromkeys(VectorField, DIM)
ALL = SearchFilters()
IMAGE, TEXT, BGE = VectorField.image_clip, VectorField.text_clip, VectorField.text_bge
BIG_KEYS = [2**62 + 12_345, 2**63 - 1]


def unit(place: int, dim: int = DIM) -> Vector:
    vector = np.zeros(dim, np.float32)
    vector[place % dim] = 1
    return vector


def at(cosine: float) -> Vector:
    """A vector of length 1 whose cosine with unit(0) is this."""
    vector = unit(0) * np.float32(cosine)
    vector[1] = np.sqrt(1 - cosine**2)
    return vector


def entity(milvus_id: int, vector: Vector | None = None, **values: Any) -> Entity:
    """An entity all of whose vectors are the same, unless told otherwise."""
    given_vector = unit(0) if vector is None else vector
    whole: dict[str, Any] = {
        "milvus_id": milvus_id,
        "product_id": milvus_id,
        "revision": 1,
        "title": "书包",
        "category": None,
        "brand": None,
        "price": None,
        "image_path": "0" * 64,
        "image_clip_vector": given_vector,
        "text_clip_vector": given_vector,
        "text_bge_vector": given_vector,
    }
    return Entity(**(whole | values))


@pytest.fixture(scope="module", params=["milvus_lite"])
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorStore]:
    """An open store; a server is one more parameter here."""
    store = MilvusStore(tmp_path_factory.mktemp("milvus") / "milvus.db", "http://here:8000")
    yield store
    store.close()


@pytest.fixture
def store(backend: VectorStore) -> Iterator[VectorStore]:
    """An empty collection; making a new one for each test would take seconds."""
    backend.open_collection("product_v1_000000000000", DIMS)
    yield backend
    backend.open_collection("product_v1_000000000000", DIMS)
    backend.delete([*range(1, 100), *BIG_KEYS])


def found(
    store: VectorStore, field: VectorField = BGE, vector: Vector | None = None, **filters: Any
) -> list[int]:
    hits = store.search(field, unit(0) if vector is None else vector, 100, unchecked(**filters))
    return [hit.milvus_id for hit in hits]


def unchecked(price: dict[str, Any] | None = None, **texts: str | list[str]) -> SearchFilters:
    """Filters over texts that a request may not have, such as a line break alone."""
    filters = SearchFilters.model_validate({"price": price})
    for field, values in texts.items():
        setattr(filters, field, [values] if isinstance(values, str) else values)
    return filters


def test_a_new_collection_is_empty(store: VectorStore) -> None:
    assert store.count() == 0
    assert found(store) == []


def test_a_store_answers_a_ping_before_and_after_a_collection_is_open(tmp_path: Path) -> None:
    store = MilvusStore(tmp_path / "milvus.db", "a")
    try:
        store.ping()
        assert not store.has_collection("product_v1_0123456789ab")
        store.open_collection("product_v1_0123456789ab", DIMS)
        store.ping()
        assert store.has_collection("product_v1_0123456789ab")
    finally:
        store.close()


def test_a_collection_is_there_once_it_is_opened_and_gone_once_it_is_dropped(
    backend: VectorStore,
) -> None:
    name = "product_v1_feedfeedfeed"
    assert not backend.has_collection(name)
    backend.open_collection(name, DIMS)
    backend.open_collection(name, DIMS)
    assert backend.has_collection(name)
    backend.drop_collection(name)
    backend.drop_collection(name)
    assert not backend.has_collection(name)


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
    vectors = {f"{field}": unit(place) for place, field in enumerate(VectorField)}
    store.upsert([entity(1, **vectors)])
    for place, field in enumerate(VectorField):
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


def test_a_product_without_a_picture_is_never_in_the_image_leg(store: VectorStore) -> None:
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


def test_reopening_keeps_what_was_written(tmp_path: Path) -> None:
    path, name = tmp_path / "数据 目录" / "milvus.db", "product_v1_0123456789ab"
    first = MilvusStore(path, "a")
    first.open_collection(name, DIMS)
    first.upsert([entity(1, brand="拾光"), entity(2, unit(1))])
    first.delete([2])
    first.close()
    second = MilvusStore(path, "b")
    try:
        assert second.has_collection(name)
        second.open_collection(name, DIMS)
        assert second.count() == 1
        assert found(second, brand="拾光") == [1]
    finally:
        second.close()


HELD = """
import sys
from pathlib import Path
from vector_db import MilvusStore, VectorFileBusy
try:
    MilvusStore(Path(sys.argv[1]), "another process")
except VectorFileBusy as busy:
    print(busy.holder)
"""
Open = Callable[[Path], str]


def in_this_process(path: Path) -> str:
    with pytest.raises(VectorFileBusy) as caught:
        MilvusStore(path, "another instance")
    return caught.value.holder


def in_another_process(path: Path) -> str:
    command = [sys.executable, "-c", HELD, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A file that a store of this process holds."""
    path = tmp_path / "milvus.db"
    store = MilvusStore(path, "http://127.0.0.1:8765")
    yield path
    store.close()


@pytest.mark.parametrize("open_again", [in_this_process, in_another_process])
def test_a_file_that_is_held_is_refused_and_its_holder_named(held: Path, open_again: Open) -> None:
    assert "http://127.0.0.1:8765" in open_again(held)
