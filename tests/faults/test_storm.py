"""All kinds of clients, and a fault every few seconds: nothing is lost, nothing is shown wrong.

`make storm MINUTES=30` is the long one, with the clock set back once; its table comes at the end.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import storm as storms
from tests.faults.conftest import SEED
from tests.faults.ledger import Content, Tracked
from tests.faults.mariadb import OwnMariaDB
from tests.faults.places import Embedded, Networked, Place
from tests.faults.storm import Fault, Storm
from tests.faults.tables import note, tally
from tests.wall_clock import WallClock

MINUTES = float(os.environ.get("PRODUCT_SEARCH_TEST_STORM_MINUTES", "0"))
IS_LONG = MINUTES > 0
SECONDS, PERIOD_S = (60 * MINUTES, 20.0) if IS_LONG else (32.0, 8.0)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WallClock | None]:
    """The clock of all processes but Milvus's server, in a long storm.

    A short one shares its fork server with other tests, whose processes have no such clock.
    """
    if not IS_LONG:
        yield None
        return
    made = WallClock(tmp_path_factory.mktemp("clock"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)  # before the first process is forked
        yield made


@pytest.fixture(scope="module")
def settings(small_encoders: dict[str, Any]) -> dict[str, Any]:
    return small_encoders | {"outbox_max_depth": storms.MAX_DEPTH}


@pytest.fixture
def embedded(
    settings: dict[str, Any], clock: WallClock | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Embedded]:
    made = Embedded(tmp_path_factory.mktemp("embedded"), settings)
    yield made
    made.close()


@pytest.fixture
def mariadb(
    clock: WallClock | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OwnMariaDB]:
    server = OwnMariaDB(tmp_path_factory.mktemp("own"))
    yield server
    server.stop()


@pytest.fixture
def networked(
    settings: dict[str, Any], mariadb: OwnMariaDB, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Networked]:
    made = Networked(tmp_path_factory.mktemp("networked"), settings, mariadb.url)
    yield made
    made.close()


def survive(place: Place, faults: dict[str, Fault], clock: WallClock | None) -> None:
    """Let the storm rage over the place: nothing is lost or wrong, and memory is flat."""
    once = {} if clock is None else {"clock set back": storms.clock_set_back(clock)}
    storm = Storm(place, faults, random.Random(SEED), SECONDS, PERIOD_S, once)
    with place.explained():
        storm.rage()
        wrong = storm.wrong()
        report(storm, wrong)
        told = [f"{what}: {one}" for what, lines in wrong.items() for one in lines[:20]]
        assert not told, "\n".join(told)
        assert storm.imports > 0
        assert place.ledger.versions.hits > 0


def report(storm: Storm, wrong: dict[str, list[str]]) -> None:
    answers, ledger = storm.place.ledger.answers, storm.place.ledger
    row = tally("storm", storm.place.name)
    row.rounds, row.drift = len(storm.windows), len(wrong["drift"])
    row.kills = sum("killed" in window.fault for window in storm.windows)
    row.acknowledged, row.unanswered = answers["acknowledged"], answers["unanswered"]
    note(f"{storm.place.name}: {ledger.versions.hits} products shown, {storm.imports} imports")
    note(f"  wrong: { ({what: len(lines) for what, lines in wrong.items()}) }")
    note(f"  answers: {dict(answers)}; the slowest after {ledger.longest_s:.1f} s")
    for window in storm.windows:
        kinds = [one.kind for one in ledger.troubles if window.excuses(one)]
        counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
        since = window.begin - storm.windows[0].begin
        note(
            f"  {window.fault} at {since:.0f} s for {window.end - window.begin:.0f} s, "
            f"not done in it: {counts}"
        )


def test_the_service_and_its_own_stores_outlast_a_storm(
    embedded: Embedded, clock: WallClock | None
) -> None:
    faults: dict[str, Fault] = {
        "service killed": storms.service_killed(embedded),
        "Milvus Lite away": storms.milvus_lite_away(embedded),
        "outbox full": storms.outbox_full(embedded),
    }
    survive(embedded, faults, clock)
    # The verdict is no matter of course: a write that never was is missed.
    embedded.start_all()
    embedded.ledger.add(Tracked("S-none", {Content("从未有过")}))
    assert [line for line in embedded.drift() if "S-none" in line]


def test_workers_mariadb_and_milvus_outlast_a_storm(
    networked: Networked, mariadb: OwnMariaDB, clock: WallClock | None
) -> None:
    faults: dict[str, Fault] = {
        "worker killed": storms.worker_killed(networked),
        "Milvus away": storms.milvus_away(networked),
        "MariaDB away": storms.mariadb_away(networked, mariadb),
        "outbox full": storms.outbox_full(networked),
    }
    survive(networked, faults, clock)
