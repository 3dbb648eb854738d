"""What may be chosen about Milvus: indexes and their parameters, addresses, tokens."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from product_search.bootstrap.stores import open_vector_database
from product_search.errors import AppError
from product_search.milvus import entities
from product_search.milvus.entities import Row, messages
from product_search.milvus.options import IndexType, MilvusOptions, MilvusServer
from product_search.settings import Settings


def test_a_file_is_searched_whole_and_a_server_by_a_graph() -> None:
    assert MilvusOptions().index(embedded=True) == ("FLAT", {})
    assert MilvusOptions().index(embedded=False) == ("HNSW", {"M": 32, "efConstruction": 400})


def test_given_parameters_win_over_the_defaults() -> None:
    options = MilvusOptions("HNSW", {"M": 48}, {"ef": 200})
    assert options.index(embedded=False) == ("HNSW", {"M": 48, "efConstruction": 400})
    assert options.search("HNSW", 10) == {"ef": 200}


@pytest.mark.parametrize(("index_type", "name"), [("HNSW", "ef"), ("DISKANN", "search_list")])
def test_no_list_of_candidates_is_shorter_than_the_answer(index_type: str, name: str) -> None:
    assert MilvusOptions().search(index_type, 16_384)[name] == 16_384
    assert MilvusOptions(search_params={name: 5}).search(index_type, 64)[name] == 64


@pytest.mark.parametrize(
    ("index_type", "given", "params"),
    [
        ("IVF_FLAT", {}, {"nprobe": 65_536}),
        ("IVF_SQ8", {"nprobe": 4}, {"nprobe": 65_536}),
        ("HNSW", {}, {"ef": 256}),
        ("HNSW", {"ef": 1000}, {"ef": 1000}),
        ("DISKANN", {}, {"search_list": 100}),
        ("FLAT", {}, {}),
        ("AUTOINDEX", {}, {}),
    ],
)
def test_a_filtered_search_looks_further(
    index_type: str, given: dict[str, int], params: dict[str, int]
) -> None:
    options = MilvusOptions(search_params=given)
    assert options.search(index_type, 64, is_filtered=True) == params


@pytest.mark.parametrize("index_type", ["FLAT", "AUTOINDEX"])
def test_an_index_without_parameters_is_searched_without(index_type: IndexType) -> None:
    assert MilvusOptions(index_type).index(embedded=True) == (index_type, {})
    assert MilvusOptions(index_type).search(index_type, 64) == {}


@pytest.mark.parametrize(
    ("uri", "token", "told"),
    [
        ("http://milvus:19530", "root:Milvus", True),
        ("http://10.0.0.7:19530", "key", True),
        ("https://milvus:19530", "key", False),
        ("http://127.0.0.1:19530", "key", False),
        ("http://localhost:19530", "key", False),
        ("http://milvus:19530", "", False),
    ],
)
def test_a_token_in_the_clear_is_noticed(uri: str, token: str, told: bool) -> None:
    assert MilvusServer(uri, token).tells_its_token is told


def test_a_token_in_the_clear_is_warned_of_and_not_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = Settings(
        _env_file=None,
        data_dir=tmp_path,
        milvus_uri="http://milvus.invalid:1",
        milvus_token="root:geheim",
    )
    with caplog.at_level(logging.DEBUG), pytest.raises(AppError) as caught:
        open_vector_database(chosen, "a")
    assert "PRODUCT_SEARCH_MILVUS_TOKEN" in caplog.text
    assert "geheim" not in f"{caplog.text} {caught.value} {caught.value.__cause__}"


def rows(count: int, title: str) -> list[Row]:
    vector = np.ones(512, np.float32)
    whole = {"title": title, "attributes": {}, "v": vector}
    return [{"primary_key": key} | whole for key in range(count)]


def test_rows_are_parted_by_their_bytes_and_keep_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entities, "MESSAGE_BYTES", 10_000)
    parts = list(messages(rows(9, "🎒" * 250)))  # 3,250 bytes each
    assert [len(part) for part in parts] == [3, 3, 3]
    assert [row["primary_key"] for part in parts for row in part] == list(range(9))


def test_a_row_over_the_limit_goes_alone_and_nothing_is_no_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entities, "MESSAGE_BYTES", 10)
    assert [len(part) for part in messages(rows(3, "a"))] == [1, 1, 1]
    assert list(messages([])) == []
