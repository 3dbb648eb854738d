"""The service, workers and imports killed at each step of their work, under a running write load.

After each recovery every acknowledged write is there, and Milvus holds exactly what the rows say.
`make faults ROUNDS=20` kills each so many times. A new step is one entry of FAULTS.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest

from tests.faults.conftest import SEED
from tests.faults.doomed import Failpoint
from tests.faults.load import Load
from tests.faults.places import Place
from tests.faults.run_faults import (
    COMMIT,
    during_import,
    during_reindexing,
    during_uploaded_import,
)
from tests.faults.tables import tally

ROUNDS = int(os.environ.get("PRODUCT_SEARCH_TEST_ROUNDS", "2"))
AFTERWARDS = 20  # writes after the restart: recovery is not left alone either


Fault = Callable[[Place, random.Random, Load], int]


@dataclass(frozen=True)
class Step:
    """At which call of a function who dies: one that is drawn from the first so many."""

    victim: Literal["service", "worker"]
    target: str
    when: Literal["before", "after"]
    passages: int = 6

    def __call__(self, place: Place, chance: random.Random, _load: Load) -> int:
        """Start the victim, doomed; one process dies."""
        # Where the service indexes by itself, it is the worker.
        of_workers = self.victim == "worker" and place.workers
        victim = place.workers[0] if of_workers else "service"
        place.start(victim, Failpoint(self.target, self.when, chance.randint(1, self.passages)))
        place.start_missing()
        place.wait_for_death(victim)
        return 1


def during_activation(place: Place, chance: random.Random, _load: Load) -> int:
    """The service dies while it makes its collection, and workers wait for it."""
    place.stop_all()
    with place.opened_vectors() as vector_database:
        vector_database.drop_collection(place.collection)
    making = Failpoint(
        "product_search.milvus.connection:MilvusConnection.call", "before", chance.randint(1, 11)
    )
    place.start("service", making)
    place.start_missing()
    place.wait_for_death("service")
    return 1


def at_a_random_moment(place: Place, chance: random.Random, load: Load) -> int:
    """Some of the processes die, or all of them."""
    place.start_all()
    load.wait(chance.randint(1, 60))
    time.sleep(chance.uniform(0, 0.05))  # any moment between two writes
    running = [*place.services, *place.workers]
    victims = chance.sample(running, chance.randint(1, len(running)))
    for victim in victims:
        place.kill(victim)
    for victim in victims:
        place.wait_for_death(victim)
    return len(victims)


FAULTS: dict[str, Fault] = {
    "before commit": Step("service", COMMIT, "before", 40),
    "after commit": Step("service", COMMIT, "after", 40),
    "after claim": Step("worker", "product_search.indexing.indexer:Indexer._apply_claim", "before"),
    "during encode": Step(
        "worker", "product_search.encoders.chinese_clip:ChineseClipEncoder.encode_images", "before"
    ),
    "after Milvus upsert": Step("worker", "pymilvus:MilvusClient.upsert", "after"),
    "after Milvus delete": Step("worker", "pymilvus:MilvusClient.delete", "after", 3),
    "before mark_done": Step("worker", "product_search.outbox.events:mark_done", "before"),
    "during import": during_import,
    "during an uploaded import": during_uploaded_import,
    "during reindexing": during_reindexing,
    "during activation": during_activation,
    "at a random moment": at_a_random_moment,
}
# Where the service does not index, the worker's commits are its own.
WORKERS_FAULTS: dict[str, Fault] = {
    "before a worker's commit": Step("worker", COMMIT, "before", 12),
    "after a worker's commit": Step("worker", COMMIT, "after", 12),
}


@pytest.mark.parametrize("step", FAULTS)
def test_whoever_is_killed_under_load_loses_nothing(place: Place, step: str) -> None:
    survive(place, step, FAULTS[step])


@pytest.mark.parametrize("place", ["network"], indirect=True)
@pytest.mark.parametrize("step", WORKERS_FAULTS)
def test_a_worker_killed_around_its_commit_loses_nothing(place: Place, step: str) -> None:
    survive(place, step, WORKERS_FAULTS[step])


@pytest.mark.parametrize("place", ["two services"], indirect=True)
def test_one_of_two_services_killed_at_a_random_moment_loses_nothing(place: Place) -> None:
    survive(place, "at a random moment", at_a_random_moment)


def survive(place: Place, step: str, fault: Fault) -> None:
    """Let the fault happen under load, round after round: each time nothing is lost.

    The fault draws from the round's chance, and returns how many processes it killed.
    """
    row, answers = tally(step, place.name), place.ledger.answers
    before = answers.copy()
    for number in range(ROUNDS):
        seed = f"{SEED} {step} {number}"
        chance = random.Random(seed)
        with place.explained():
            with Load(place.addresses, place.ledger, chance) as load:
                row.kills += fault(place, chance, load)
                place.start_all()
                load.wait(AFTERWARDS)
            wrong = place.drift()
            row.rounds, row.drift = number + 1, row.drift + len(wrong)
            row.acknowledged = answers["acknowledged"] - before["acknowledged"]
            row.unanswered = answers["unanswered"] - before["unanswered"]
            assert not wrong, "\n".join([f"in the round {seed!r}:", *wrong])
