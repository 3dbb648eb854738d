"""The embedded Milvus file: one process holds it, and outlives a crash of Milvus Lite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from product_search.errors import StartError, VectorStoreUnavailable
from product_search.milvus import milvus_lite
from product_search.milvus.collection import MilvusCollection
from product_search.milvus.milvus_lite import VectorFileBusy
from product_search.milvus.options import IndexType, MilvusOptions
from product_search.settings import ROOT
from tests.contract.entities import ALL, DIMS, entity, found, unit
from vector_db import MilvusDatabase

NAME = "product_v1_0123456789ab"


def kill_milvus_lite(vector_database: MilvusDatabase) -> None:
    """End the child process as a crash would."""
    process = vector_database.connection._source._server._p  # type: ignore[union-attr]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_reopening_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "数据 目录" / "milvus.db"
    first = MilvusDatabase(path, "a")
    entities = first.ensure_collection(NAME, DIMS)
    entities.upsert([entity(1, brand="拾光"), entity(2, unit(1))])
    entities.delete([2])
    first.close()
    second = MilvusDatabase(path, "b")
    try:
        assert second.has_collection(NAME)
        entities = second.ensure_collection(NAME, DIMS)
        assert entities.count() == 1
        assert found(entities, brand="拾光") == [1]
    finally:
        second.close()


HELD = """
import sys
from pathlib import Path
from product_search.milvus.milvus_lite import VectorFileBusy
from vector_db import MilvusDatabase
try:
    MilvusDatabase(Path(sys.argv[1]), "another process")
except VectorFileBusy as busy:
    print(busy.holder)
"""
Open = Callable[[Path], str]


def in_this_process(path: Path) -> str:
    with pytest.raises(VectorFileBusy) as caught:
        MilvusDatabase(path, "another instance")
    return caught.value.holder


def in_another_process(path: Path) -> str:
    command = [sys.executable, "-c", HELD, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A file that a store of this process holds."""
    path = tmp_path / "milvus.db"
    vector_database = MilvusDatabase(path, "http://127.0.0.1:8765")
    yield path
    vector_database.close()


@pytest.mark.parametrize("open_again", [in_this_process, in_another_process])
def test_a_file_that_is_held_is_refused_and_its_holder_named(held: Path, open_again: Open) -> None:
    assert "http://127.0.0.1:8765" in open_again(held)


def use_twice(path: Path) -> list[list[int]]:
    """What a search finds in the file, which is opened and closed two times."""
    answers = []
    for _ in range(2):
        vector_database = MilvusDatabase(path, "a")
        try:
            entities = vector_database.ensure_collection(NAME, DIMS)
            entities.upsert([entity(1)])
            answers.append(found(entities))
            assert vector_database.connection.client()[1] == 1, "Milvus Lite has ended meanwhile"
        finally:
            vector_database.close()
    return answers


def test_milvus_lites_that_start_and_end_at_the_same_moment_leave_each_other_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, folder = tmp_path / "user", tmp_path / "files"
    shared.mkdir()
    monkeypatch.setenv("HOME", str(shared))
    paths = [folder / f"{number}.db" for number in range(6)]
    with ThreadPoolExecutor(len(paths)) as users:
        assert list(users.map(use_twice, paths)) == [[[1], [1]]] * len(paths)
    assert not list(shared.iterdir())
    assert {path.name.removesuffix(".owner") for path in folder.iterdir()} == {
        path.name for path in paths
    }


@pytest.mark.parametrize("home", [None, "/proc"])
def test_milvus_lite_needs_no_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", home)
    assert use_twice(tmp_path / "milvus.db") == [[1], [1]]


@pytest.fixture
def vector_database(tmp_path: Path) -> Iterator[MilvusDatabase]:
    """A file that holds one collection with one entity."""
    vector_database = MilvusDatabase(tmp_path / "milvus.db", "a")
    vector_database.ensure_collection(NAME, DIMS).upsert([entity(1)])
    yield vector_database
    vector_database.close()


@pytest.fixture
def opened(vector_database: MilvusDatabase) -> MilvusCollection:
    """The collection of the file."""
    return vector_database.open_collection(NAME)


@pytest.mark.parametrize("calls", ["ping", "count", "scan", "search", "upsert", "delete"])
def test_a_milvus_lite_that_was_killed_is_started_by_the_next_call(
    vector_database: MilvusDatabase, opened: MilvusCollection, calls: str
) -> None:
    kill_milvus_lite(vector_database)
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
    vector_database: MilvusDatabase,
    opened: MilvusCollection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(milvus_lite, "RESTART_PATIENCE_S", 0.5)
    monkeypatch.setattr(milvus_lite, "RESTART_PAUSE_S", 1)
    path = tmp_path / "milvus.db"
    kept = path.read_bytes()
    path.write_bytes(b"no database" * 1000)
    kill_milvus_lite(vector_database)
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


def test_a_search_by_terms_is_answered_while_the_first_entity_is_written(
    vector_database: MilvusDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = vector_database.ensure_collection("product_v1_abcdef012345", DIMS)
    assert not new.search_text("书包", 1, ALL)
    count = new.count

    def count_after_the_write() -> int:
        new.upsert([entity(1)])
        return count()

    monkeypatch.setattr(new, "count", count_after_the_write)
    assert [hit.milvus_id for hit in new.search_text("书包", 1, ALL)] == [1]


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
        MilvusDatabase(tmp_path / "milvus.db", "a", options)
    assert not (tmp_path / "milvus.db").exists()


@pytest.mark.parametrize("name", ["milvus", "红.db", "a b.db", f"{'x' * 40}.db"])
def test_a_name_that_milvus_lite_can_not_use_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartError, match="PRODUCT_SEARCH_MILVUS_URI"):
        MilvusDatabase(tmp_path / name, "a")


@pytest.mark.parametrize("index_type", ["FLAT", "IVF_FLAT", "AUTOINDEX"])
def test_each_index_that_a_file_can_have_finds_the_nearest(
    tmp_path: Path, index_type: IndexType
) -> None:
    options = MilvusOptions(index_type=index_type)
    vector_database = MilvusDatabase(tmp_path / "milvus.db", "a", options)
    try:
        entities = vector_database.ensure_collection(NAME, DIMS)
        entities.upsert([entity(key, unit(key)) for key in range(1, 9)])
        assert found(entities, vector=unit(5))[0] == 5
    finally:
        vector_database.close()
