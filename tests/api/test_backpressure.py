"""Writes while too much index work waits: refused with 429, and nothing half-written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from main import create_app
from orm_models import Database
from product_search.bulk.importer import import_file
from product_search.catalog.rows import upsert_by_sku
from product_search.errors import DatabaseUnavailable, OutboxFull
from product_search.indexing.indexer import Indexer
from product_search.outbox.admission import OutboxGate
from product_search.outbox.events import Priority
from product_search.settings import Settings
from tests.api.helpers import base64_of, code_of, create, everything, listed, resources
from tests.unit.pictures import encoded, noise

P = ParamSpec("P")
T = TypeVar("T")
DEPTH = 3
DEADLINE_S = 60.0


@pytest.fixture
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service that indexes nothing, and whose outbox holds little."""
    settings = open_settings().model_copy(update={"outbox_max_depth": DEPTH})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        resources(client).indexing_loop.stop()
        yield client


def drain(api: TestClient) -> None:
    held = resources(api)
    while Indexer(held.database, held.images, held.collections).apply_oldest(64):
        pass


def test_a_full_outbox_refuses_writes_and_nothing_else(api: TestClient) -> None:
    made = [create(api, title=str(number)) for number in range(DEPTH)]
    before = everything(api)
    photo = base64_of(encoded(noise((30, 30), 1), "PNG"))
    url = f"/product/{made[0]['product_id']}"
    for answer in (
        api.post("/product", json={"title": "一个太多", "image_base64": photo}),
        api.patch(url, json={"title": "改", "image_base64": photo}),
        api.delete(url),
    ):
        assert code_of(answer) == (429, "outbox_full")
        assert int(answer.headers["Retry-After"]) > 0
    assert everything(api) == before
    assert api.get(url).status_code == 200
    assert api.get("/health").json()["outbox"]["pending"] == DEPTH
    query = {"mode": "text_to_text", "text": "书包"}
    assert api.post("/search", json=query).status_code == 200


def test_an_import_that_fills_the_outbox_leaves_people_all_of_their_room(api: TestClient) -> None:
    database = resources(api).database
    rows = [{"sku": str(number), "title": "杯子"} for number in range(2 * DEPTH)]
    database.write(upsert_by_sku, rows)
    for number in range(DEPTH):
        create(api, title=str(number))
    assert code_of(api.post("/product", json={"title": "一个太多"})) == (429, "outbox_full")
    gate = OutboxGate(database, DEPTH, clock=lambda: 0.0)
    with pytest.raises(OutboxFull):
        gate.admit(1, Priority.background)


def test_an_import_waits_for_what_people_have_written_too(api: TestClient) -> None:
    """So the outbox does not grow without bound."""
    for number in range(DEPTH):
        create(api, title=str(number))
    gate = OutboxGate(resources(api).database, DEPTH, clock=lambda: 0.0)
    with pytest.raises(OutboxFull):
        gate.admit(1, Priority.background)


def test_what_leaves_no_index_work_passes_a_full_outbox(api: TestClient) -> None:
    made = [create(api, title=str(number)) for number in range(DEPTH)]
    url = f"/product/{made[0]['product_id']}"
    assert api.patch(url, json={"group": "A-1"}).is_success
    for answer in (api.patch("/product/999", json={"title": "改"}), api.delete("/product/999")):
        assert code_of(answer) == (404, "product_not_found")


class Hung(Database):
    """One whose first read hangs, and then fails."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reached, self.ending = threading.Event(), threading.Event()

    def read(
        self, query: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """See Database."""
        if self.reached.is_set():
            return super().read(query, *args, **kwargs)
        self.reached.set()
        assert self.ending.wait(DEADLINE_S)
        raise DatabaseUnavailable("数据库暂时不可用，请稍后重试")


def test_a_count_that_hangs_holds_up_no_other_write(api: TestClient) -> None:
    now = [0.0]
    with closing(Hung(resources(api).settings.sqlalchemy_url)) as hung:
        gate = OutboxGate(hung, DEPTH, clock=lambda: now[0])
        with ThreadPoolExecutor(1) as pool:
            counting = pool.submit(gate.admit, 1)
            assert hung.reached.wait(DEADLINE_S)
            for _ in range(DEPTH):
                gate.admit(1)  # comes back at once
            with pytest.raises(OutboxFull):
                gate.admit(1)
            now[0] = 5.0
            gate.admit(1)  # counts in its place
            hung.ending.set()
            with pytest.raises(DatabaseUnavailable):
                counting.result()
        gate.admit(1)


def test_what_passes_while_it_is_counted_is_not_forgotten(api: TestClient) -> None:
    depths = [0, DEPTH]

    class Crowded(Database):
        """Others write while one counts."""

        def read(
            self, query: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
        ) -> T:
            """See Database."""
            if len(depths) == 2:
                depth = depths.pop(0)
                gate.admit(DEPTH - 1)
                return cast(T, depth)
            return cast(T, depths[0])

    with closing(Crowded(resources(api).settings.sqlalchemy_url)) as crowded:
        gate = OutboxGate(crowded, DEPTH, clock=lambda: 0.0)
        gate.admit(1)
        with pytest.raises(OutboxFull):
            gate.admit(1)


def test_writes_pass_again_once_the_outbox_is_emptied(api: TestClient) -> None:
    for _ in range(DEPTH):
        create(api)
    assert api.post("/product", json={"title": "一个太多"}).status_code == 429
    drain(api)
    deadline = time.monotonic() + DEADLINE_S
    while api.post("/product", json={"title": "又可以了"}).status_code == 429:
        assert time.monotonic() < deadline, "writes are refused for good"
        time.sleep(0.05)
    assert listed(api)["total"] == DEPTH + 1


def test_the_depth_is_counted_at_most_once_a_second(api: TestClient) -> None:
    now = [0.0]
    gate = OutboxGate(resources(api).database, DEPTH, clock=lambda: now[0])
    gate.admit(1)
    for _ in range(DEPTH):
        create(api)
    gate.admit(1)  # another process's writes are not seen yet
    now[0] = 1.0
    with pytest.raises(OutboxFull):
        gate.admit(1)
    drain(api)
    with pytest.raises(OutboxFull):
        gate.admit(1)
    now[0] = 2.0
    gate.admit(2 * DEPTH)  # a batch passes as a whole


def test_what_passes_is_counted_until_the_depth_is(api: TestClient) -> None:
    gate = OutboxGate(resources(api).database, DEPTH, clock=lambda: 0.0)
    gate.admit(DEPTH)
    gate.admit(DEPTH)  # the first write left nothing after all: the depth, counted anew, says so
    for _ in range(DEPTH):
        create(api)
    with pytest.raises(OutboxFull):
        gate.admit(1)


def test_an_import_waits_for_room(
    api: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("product_search.bulk.importer.BATCH_SIZE", 2)
    monkeypatch.setattr(OutboxFull, "retry_after_s", 0.01)
    clock = [0.0]
    paused: list[float] = []

    class DrainedGate(OutboxGate):
        """Whoever is refused finds the outbox emptied when it asks again."""

        def admit(self, events: int, priority: Priority = Priority.person) -> None:
            """See OutboxGate."""
            try:
                super().admit(events, priority)
            except OutboxFull:
                paused.append(clock[0])
                drain(api)
                clock[0] += 5
                raise

    gate = DrainedGate(resources(api).database, DEPTH, clock=lambda: clock[0])
    catalog = replace(resources(api).catalog, gate=gate)
    file = tmp_path / "a.csv"
    file.write_text("sku,title\n" + "".join(f"{n},书包\n" for n in range(9)), "utf-8")
    report = import_file(catalog, file, tmp_path)
    assert (report.counts.created, report.bad_rows) == (9, [])
    assert paused == [0, 5]
    assert listed(api)["total"] == 9
