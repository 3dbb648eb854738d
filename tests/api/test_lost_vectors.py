"""Milvus's file taken away, or put back older, under a running service: told, and made good."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.settings import Settings
from tests.api.helpers import create, create_all, ids, resources, search
from tests.clock import until

TITLES = ["红色双肩包", "保温杯", "折叠雨伞"]


@pytest.fixture
def service(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service with some products."""
    with TestClient(create_app(open_settings()), raise_server_exceptions=False) as client:
        create_all(client, [{"title": title} for title in TITLES])
        yield client


def path_of(service: TestClient) -> Path:
    return resources(service).settings.milvus_path


def assert_whole(service: TestClient, count: int) -> None:
    """All is well by itself, and all products are found."""

    def is_well() -> bool:
        health = service.get("/health").json()
        return bool(health["status"] == "ok" and not health["outbox"]["pending"])

    until(is_well, "the return")
    hits = search(service, "text_to_text", text="东西", top_k=50)
    assert len(set(ids(hits))) == count
    assert resources(service).entities.count() == count


def test_a_file_that_is_removed_is_made_anew_and_the_log_says_why(
    service: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    incidents = resources(service).collections.vector_database.find_incidents
    with caplog.at_level(logging.WARNING):
        path_of(service).unlink()
        until(lambda: incidents() == 1, "the notice")
    assert "its file was removed or replaced while it ran" in caplog.text
    assert_whole(service, len(TITLES))
    assert create(service, wait=True, title="台灯")["index_status"] == "indexed"
    assert_whole(service, len(TITLES) + 1)
    assert path_of(service).exists()


def test_until_a_lost_collection_is_filled_health_says_so(
    service: TestClient,
) -> None:
    healthy = service.get("/health").json()
    assert (healthy["status"], healthy["reasons"]) == ("ok", [])
    resources(service).indexing_loop.stop()
    path_of(service).unlink()
    service.get("/health")  # it may be this that has Milvus Lite started again
    told = service.get("/health").json()
    assert (told["status"], told["vector_store"]) == ("degraded", "down")
    assert any("向量库" in reason for reason in told["reasons"])
    resources(service).recovery.run_if_needed()
    told = service.get("/health").json()
    assert (told["status"], told["vector_store"]) == ("degraded", "filling")
    assert any("填充" in reason for reason in told["reasons"])


def test_an_older_file_that_is_put_in_its_place_is_brought_up_to_date(
    service: TestClient, tmp_path: Path
) -> None:
    path, older = path_of(service), tmp_path / "older.db"
    shutil.copy(path, older)
    first = service.get("/product/list").json()["items"][0]
    changed = service.patch(f"/product/{first['product_id']}?wait=true", json={"title": "台灯"})
    assert changed.json()["index_status"] == "indexed"
    create(service, wait=True, title="登山鞋")
    older.replace(path)
    until(
        lambda: resources(service).collections.vector_database.find_incidents() == 1, "the notice"
    )
    assert_whole(service, len(TITLES) + 1)
    assert ids(search(service, "text_to_text", text="台灯"))[0] == first["product_id"]


def test_the_whole_folder_may_be_gone(service: TestClient, tmp_path: Path) -> None:
    path = path_of(service)
    shutil.move(path, tmp_path / "gone.db")
    path.with_name(path.name + ".owner").unlink()
    until(
        lambda: resources(service).collections.vector_database.find_incidents() == 1, "the notice"
    )
    assert_whole(service, len(TITLES))
    assert path.with_name(path.name + ".owner").exists()
