"""A store that is down for a while, under a running write load: told at once, and made good."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from tests.clock import until
from tests.faults.conftest import SEED
from tests.faults.load import Load
from tests.faults.mariadb import OwnMariaDB
from tests.faults.places import Networked
from tests.faults.tables import tally

OUTAGE_S = float(os.environ.get("PRODUCT_SEARCH_TEST_OUTAGE_S", "3"))
BOUND_S = 30.0  # the longest that an answer may take, of whatever kind
QUERY = {"mode": "text_to_text", "text": "红色书包"}


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnMariaDB]:
    server = OwnMariaDB(tmp_path_factory.mktemp("own"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory,
    small_encoders: dict[str, object],
    mariadb: OwnMariaDB,
) -> Iterator[Networked]:
    made = Networked(tmp_path_factory.mktemp("outages"), small_encoders, mariadb.url)
    made.start_all()
    # One that meets a store that is down as it starts says so and ends.
    until(lambda: made.whole_log().count("开始建立索引") == len(made.workers), "the workers' start")
    yield made
    made.close()


def asked(place: Networked, method: str, path: str, **body: object) -> httpx.Response:
    """An answer, which comes in time."""
    return httpx.request(method, f"{place.addresses[0]}{path}", timeout=BOUND_S, **body)  # type: ignore[arg-type]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error that says when to come back."""
    assert int(answer.headers["Retry-After"]) > 0
    return answer.status_code, answer.json()["code"]


def wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def check_afterwards(place: Networked, what: str, before: Counter[str]) -> None:
    assert all(process.is_alive() for process in place.processes.values())
    wrong = place.drift()
    told = place.ledger.answers - before
    row = tally(f"{what} {OUTAGE_S:g} s", place.name)
    row.rounds, row.kills, row.drift = 1, 1, len(wrong)
    row.acknowledged, row.unanswered = told["acknowledged"], told["unanswered"]
    assert not wrong, "\n".join(wrong)
    assert place.ledger.longest_s < BOUND_S


def test_while_milvus_is_down_writes_go_on_and_searches_are_told(place: Networked) -> None:
    before = place.ledger.answers.copy()
    with place.explained(), Load(place.addresses, place.ledger, random.Random(SEED)) as load:
        load.wait(20)
        place.milvus.kill()
        end = time.monotonic() + OUTAGE_S
        load.wait(20)
        answer = asked(place, "POST", "/search", json=QUERY)
        assert refusal(answer) == (503, "vector_store_unavailable")
        health = asked(place, "GET", "/health")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["vector_store"] == "down"
        wait_until(end)
        place.milvus.start()
        load.wait(20)
    check_afterwards(place, "Milvus down", before)
    assert asked(place, "POST", "/search", json=QUERY).status_code == 200


def test_while_mysql_is_down_every_request_is_told_and_nothing_is_lost(
    place: Networked, mariadb: OwnMariaDB
) -> None:
    before = place.ledger.answers.copy()
    with place.explained(), Load(place.addresses, place.ledger, random.Random(SEED)) as load:
        load.wait(20)
        mariadb.kill()
        end = time.monotonic() + OUTAGE_S
        for method, path, body in [
            ("GET", "/product/list", None),
            ("POST", "/product", {"title": "书包"}),
            ("POST", "/search", QUERY),
        ]:
            answer = asked(place, method, path, json=body)
            assert refusal(answer) == (503, "database_unavailable")
        health = asked(place, "GET", "/health")
        assert (health.status_code, health.json()["status"]) == (503, "down")
        wait_until(end)
        assert place.ledger.answers["refused"] > before["refused"]
        mariadb.start()
        load.wait(20)
    check_afterwards(place, "MariaDB killed", before)
