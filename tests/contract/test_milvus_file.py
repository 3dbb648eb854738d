"""The embedded Milvus file: one process holds it, and outlives a crash of Milvus Lite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from product_search.errors import StartError, VectorStoreUnavailable
from product_search.milvus import milvus_lite
from product_search.milvus.options import IndexType, MilvusOptions
from product_search.settings import ROOT
from tests.contract.entities import DIMS, entity, found, unit
from vector_db import MilvusStore, VectorFileBusy


def kill_milvus_lite(store: MilvusStore) -> None:
    """End the child process as a crash would."""
    process = store._link._server._p  # type: ignore[attr-defined]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


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


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[MilvusStore]:
    """A store over a file, with one entity."""
    store = MilvusStore(tmp_path / "milvus.db", "a")
    store.open_collection("product_v1_0123456789ab", DIMS)
    store.upsert([entity(1)])
    yield store
    store.close()


@pytest.mark.parametrize("calls", ["ping", "count", "scan", "search", "upsert", "delete"])
def test_a_milvus_lite_that_was_killed_is_started_by_the_next_call(
    opened: MilvusStore, calls: str
) -> None:
    kill_milvus_lite(opened)
    match calls:
        case "ping":
            opened.ping()
        case "count":
            assert opened.count() == 1
        case "scan":
            assert [state.milvus_id for state in opened.scan(-1, 10)] == [1]
        case "upsert":
            opened.upsert([entity(2, unit(1))])
        case "delete":
            opened.delete([2])
    assert found(opened)[0] == 1


def test_a_file_that_is_lost_with_its_milvus_lite_is_an_outage_and_no_hang(
    opened: MilvusStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_lite, "RESTART_PATIENCE_S", 0.5)
    monkeypatch.setattr(milvus_lite, "RESTART_PAUSE_S", 1)
    path = tmp_path / "milvus.db"
    kept = path.read_bytes()
    path.write_bytes(b"no database" * 1000)
    kill_milvus_lite(opened)
    for _ in range(3):
        with pytest.raises(VectorStoreUnavailable) as caught:
            opened.count()
        assert str(tmp_path) not in str(caught.value)
    path.write_bytes(kept)
    deadline = time.monotonic() + 60
    while True:
        try:
            assert opened.count() == 1
        except VectorStoreUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            break


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (MilvusOptions(index_type="HNSW"), "HNSW"),
        (MilvusOptions(index_type="IVF_SQ8"), "IVF_SQ8"),
        (MilvusOptions(index_type="DISKANN"), "DISKANN"),
        (MilvusOptions(replicas=2), "PRODUCT_SEARCH_MILVUS_REPLICAS"),
        (MilvusOptions(shards=2), "PRODUCT_SEARCH_MILVUS_SHARDS"),
        (MilvusOptions(mmap=True), "PRODUCT_SEARCH_MILVUS_MMAP"),
        (MilvusOptions(partition_key="category"), "PRODUCT_SEARCH_MILVUS_PARTITION_KEY"),
    ],
)
def test_what_only_a_server_can_do_is_refused_for_a_file(
    tmp_path: Path, options: MilvusOptions, named: str
) -> None:
    with pytest.raises(StartError, match=named):
        MilvusStore(tmp_path / "milvus.db", "a", options)
    assert not (tmp_path / "milvus.db").exists()


@pytest.mark.parametrize("name", ["milvus", "红.db", "a b.db", f"{'x' * 40}.db"])
def test_a_name_that_milvus_lite_can_not_use_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartError, match="PRODUCT_SEARCH_MILVUS_URI"):
        MilvusStore(tmp_path / name, "a")


@pytest.mark.parametrize("index_type", ["FLAT", "IVF_FLAT", "AUTOINDEX"])
def test_each_index_that_a_file_can_have_finds_the_nearest(
    tmp_path: Path, index_type: IndexType
) -> None:
    options = MilvusOptions(index_type=index_type)
    store = MilvusStore(tmp_path / "milvus.db", "a", options)
    try:
        store.open_collection("product_v1_0123456789ab", DIMS)
        store.upsert([entity(key, unit(key)) for key in range(1, 9)])
        assert found(store, vector=unit(5))[0] == 5
    finally:
        store.close()
