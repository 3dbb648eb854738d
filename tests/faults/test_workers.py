"""Workers as processes of their own, beside a service that only takes writes: killed, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from orm_models import Database
from product_search.bootstrap.assemble import open_resources
from product_search.errors import StartError
from product_search.settings import Settings
from tests.clock import DEADLINE_S, until
from tests.faults.workers import claimed, stopped_in_a_batch, total, worker
from tests.milvus_servers import NetworkMilvus
from tests.servers import end, forked, running_api, service_environment
from tests.unit.checkpoints import write_clip

PRODUCTS = 120


@pytest.fixture
def milvus(tmp_path: Path) -> Iterator[NetworkMilvus]:
    server = NetworkMilvus(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def settings(
    open_settings: Callable[[], Settings], milvus: NetworkMilvus, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Of a service that leaves indexing to workers; processes take them from the environment."""
    monkeypatch.setenv("PRODUCT_SEARCH_MILVUS_URI", milvus.place.uri)
    monkeypatch.setenv("PRODUCT_SEARCH_MILVUS_INDEX_TYPE", "FLAT")
    monkeypatch.setenv("PRODUCT_SEARCH_INDEX_IN_PROCESS", "false")
    monkeypatch.setenv("PRODUCT_SEARCH_INDEX_LEASE_S", "3")
    return open_settings()


def write(address: str, count: int) -> None:
    for number in range(count):
        answer = httpx.post(f"{address}/product", json={"title": f"书包 {number}"})
        assert answer.status_code == 201, answer.text


def test_what_a_killed_worker_held_is_indexed_by_another(settings: Settings) -> None:
    folder = settings.data_dir
    with running_api(folder) as (address, _):
        write(address, PRODUCTS)
        assert total(address, "pending") == PRODUCTS  # the service itself indexes nothing
        with worker(folder) as first:
            until(lambda: stopped_in_a_batch(first, settings), "a claim")
            first.kill()
            first.wait(DEADLINE_S)
        left = total(address, "pending")
        assert claimed(settings) > 0
        assert left > 0
        with worker(folder) as second, worker(folder) as third:
            until(lambda: total(address, "pending") == 0, "the rest of the indexing")
            for process in (second, third):
                process.terminate()
            assert [second.wait(DEADLINE_S), third.wait(DEADLINE_S)] == [0, 0]
        assert total(address, "indexed") == PRODUCTS
        assert httpx.get(f"{address}/health").json()["status"] == "ok"
        query = {"mode": "text_to_text", "text": "书包 7", "top_k": 1}
        (hit,) = httpx.post(f"{address}/search", json=query).json()["hits"]
        assert hit["product"]["title"] == "书包 7"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_end_finishes_the_batch_in_hand(
    settings: Settings, number: signal.Signals
) -> None:
    folder = settings.data_dir
    with running_api(folder) as (address, _):
        write(address, PRODUCTS)
        with worker(folder) as process:
            until(lambda: claimed(settings) > 0, "a claim")
            process.send_signal(number)
            assert process.wait(DEADLINE_S) == 0
        assert claimed(settings) == 0
        assert total(address, "indexed") > 0
        assert total(address, "indexed") % 8 == 0  # whole batches


def test_the_service_that_is_told_to_end_finishes_the_batch_in_hand(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODUCT_SEARCH_INDEX_IN_PROCESS", "true")
    with running_api(settings.data_dir) as (address, service):
        write(address, PRODUCTS)
        until(lambda: claimed(settings) > 0 or total(address, "pending") == 0, "a claim")
        end(service)
    assert claimed(settings) == 0


def reindexing(settings: Settings, *arguments: str) -> int | None:
    """Exit status of the command."""
    folder = settings.data_dir
    command = ["manage", "reindex", *arguments]
    process = forked(command, folder, service_environment(folder), folder / "log")
    process.join(DEADLINE_S)
    return process.exitcode


def test_a_worker_fills_a_new_collection_and_keeps_the_old_in_step(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODUCT_SEARCH_CLIP_DIR", str(write_clip(tmp_path / "clip")))
    query = {"mode": "text_to_text", "text": "书包", "top_k": 50}

    def found(address: str) -> tuple[str, int]:
        answer = httpx.post(f"{address}/search", json=query).json()
        return answer["encoder"], len(answer["hits"])

    with running_api(settings.data_dir) as (address, _), worker(settings.data_dir):
        write(address, 10)
        assert reindexing(settings, "--encoder", "chinese-clip") == 0
        until(lambda: found(address) == ("chinese-clip", 10), "the switch in the service")
        write(address, 5)
        until(lambda: found(address) == ("chinese-clip", 15), "the later writes")
        assert reindexing(settings, "--rollback") == 0
        until(lambda: found(address) == ("starter", 15), "the rollback, with the later writes")


def ended(settings: Settings, **variables: str) -> tuple[int, list[str]]:
    """Exit status of a worker, and the lines that it said."""
    result = subprocess.run(
        [sys.executable, "-m", "product_search.worker"],
        cwd=settings.data_dir,
        env=os.environ | service_environment(settings.data_dir) | variables,
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEADLINE_S,
    )
    return result.returncode, result.stderr.splitlines()


def test_a_worker_refuses_the_embedded_file_and_says_why(
    open_settings: Callable[[], Settings],
) -> None:
    status, lines = ended(open_settings())
    assert status == 2
    assert len(lines) == 1
    assert "PRODUCT_SEARCH_MILVUS_URI" in lines[0]


def test_a_worker_with_other_encoders_than_the_services_refuses(settings: Settings) -> None:
    with running_api(settings.data_dir):
        database = Database(settings.sqlalchemy_url)
        with database.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE vector_collection SET encoder_fingerprint = 'x'")
        database.close()
        status, lines = ended(settings)
    assert status == 2
    assert "PRODUCT_SEARCH_CLIP_DIR" in lines[-1]


def test_a_service_over_the_embedded_file_must_index_by_itself(
    open_settings: Callable[[], Settings],
) -> None:
    settings = open_settings().model_copy(update={"index_in_process": False})
    with (
        pytest.raises(StartError, match="PRODUCT_SEARCH_INDEX_IN_PROCESS"),
        open_resources(settings, "test"),
    ):
        pass
