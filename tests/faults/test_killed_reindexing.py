"""The service killed in the middle of a reindexing: started again, it goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from orm_models import Database, Run
from product_search import live_collections, reindex
from product_search.live_collections import Role
from product_search.resources import open_database
from product_search.runs import State
from product_search.settings import Settings
from tests.servers import running_api
from tests.sessions import writing
from tests.unit.checkpoints import write_clip

DEADLINE_S = 120
PRODUCTS = 20


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {DEADLINE_S} s"
        time.sleep(0.05)


def run_of(database: Database, run_id: int) -> Run:
    return database.read(lambda session: session.get_one(Run, run_id))


def found(address: str, text: str = "书包") -> tuple[str, set[int]]:
    query = {"mode": "text_to_text", "text": text, "top_k": 100}
    answer: dict[str, Any] = httpx.post(f"{address}/search", json=query).json()
    return answer["encoder"], {hit["product"]["product_id"] for hit in answer["hits"]}


def write(address: str, title: str, *, wait: bool = True) -> int:
    url = f"{address}/product?wait={str(wait).lower()}"
    answer = httpx.post(url, json={"title": title}, timeout=60)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["product_id"])


def test_a_service_killed_during_a_reindexing_goes_on_when_started_again(
    open_settings: Callable[[], Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODUCT_SEARCH_CLIP_DIR", str(write_clip(tmp_path / "clip")))
    settings = open_settings()
    with open_database(settings) as database:
        with running_api(settings.data_dir) as (address, service):
            made = {write(address, f"书包 {number}", wait=False) for number in range(PRODUCTS)}
            run_id = database.write(lambda s: reindex.start(s, "chinese-clip", 4))
            until(lambda: run_of(database, run_id).progress.get("queued", 0) >= 8, "a part")
            made.add(write(address, "书包，写到一半时"))
            assert found(address) == ("starter", made)
            service.kill()
        killed = run_of(database, run_id)
        filling = database.read(live_collections.live)[Role.filling]
        assert (killed.state, killed.progress["collection"]) == (State.running, filling.name)
        with writing(database) as session:  # as time would
            session.get_one(Run, run_id).lease_until = datetime.now(UTC)

        with running_api(settings.data_dir) as (address, _):
            until(lambda: run_of(database, run_id).state == State.done, "the end of the run")
            until(lambda: found(address) == ("chinese-clip", made), "the switch")
            progress = run_of(database, run_id).progress
            assert progress["collection"] == filling.name
            assert progress["queued"] == len(made)  # none of them twice
