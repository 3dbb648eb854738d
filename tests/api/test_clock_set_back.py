"""The wall clock set back under a running service: nothing is hidden, and no deletion forgotten."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.settings import Settings
from tests.api.helpers import create, create_all, resources, search
from tests.clock import until
from tests.shifted_clock import ShiftedClock

TITLES = ["红色双肩包", "保温杯", "折叠雨伞", "机械键盘", "登山鞋"]


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShiftedClock:
    return ShiftedClock(tmp_path, monkeypatch)


@pytest.fixture
def service(clock: ShiftedClock, open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service, started after the clock can be set, with some products."""
    with TestClient(create_app(open_settings()), raise_server_exceptions=False) as client:
        create_all(client, [{"title": title, "sku": title} for title in TITLES])
        yield client


def found(service: TestClient) -> list[str]:
    """The titles of all that a search by meaning finds, each of which its words find first."""
    titles = [
        hit["product"]["title"] for hit in search(service, "text_to_text", text="东西", top_k=50)
    ]
    for title in titles:
        assert search(service, "hybrid", text=title)[0]["product"]["title"] == title
    return sorted(titles)


def is_whole(service: TestClient) -> bool:
    health = service.get("/health").json()
    return bool(health["status"] == "ok" and not health["outbox"]["pending"])


def test_a_step_back_of_a_second_is_waited_out(service: TestClient, clock: ShiftedClock) -> None:
    clock.set_off_by(-1)
    assert found(service) == sorted(TITLES)
    new = create(service, wait=True, title="台灯")
    clock.set_off_by(-2)
    assert service.delete(f"/product/{new['product_id']}?wait=true").status_code == 204
    until(lambda: is_whole(service), "the deletion")
    assert found(service) == sorted(TITLES)
    assert resources(service).collections.vector_database.find_incidents() == 0


def test_what_a_step_back_of_an_hour_hides_is_indexed_anew(
    service: TestClient, clock: ShiftedClock
) -> None:
    first, *_, last = service.get("/product/list?page_size=10").json()["items"]
    clock.set_off_by(-3600)
    until(
        lambda: resources(service).collections.vector_database.find_incidents() == 1, "the notice"
    )
    until(lambda: is_whole(service), "the repair")
    assert found(service) == sorted(TITLES)
    renamed = service.patch(f"/product/{first['product_id']}?wait=true", json={"title": "台灯"})
    assert renamed.json()["index_status"] == "indexed"
    assert service.delete(f"/product/{last['product_id']}").status_code == 204
    until(lambda: is_whole(service), "the deletion")
    expected = sorted({*TITLES, "台灯"} - {first["title"], last["title"]})
    assert found(service) == expected
    clock.set_off_by(0)  # what was hidden would appear, beside what has taken its place
    assert found(service) == expected
    assert resources(service).entities.count() == len(expected)


def test_a_clock_behind_the_last_write_is_noticed_at_the_start(
    clock: ShiftedClock, open_settings: Callable[[], Settings]
) -> None:
    settings = open_settings()
    clock.set_off_by(3600)
    with TestClient(create_app(settings)) as before:
        create_all(before, [{"title": title, "sku": title} for title in TITLES])
    written = time.time() + 3600  # as the kernel, whose clock a test can't set, would have it
    os.utime(settings.milvus_path, (written, written))
    clock.set_off_by(0)
    with TestClient(create_app(settings), raise_server_exceptions=False) as service:
        until(lambda: is_whole(service), "the repair")
        assert found(service) == sorted(TITLES)
