"""The service, workers and imports killed at each step of their work, under a running write load.

After each recovery every acknowledged write is there, and Milvus holds exactly what the rows say.
`make faults ROUNDS=20` kills each so many times.
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
from tests.faults.tables import tally

ROUNDS = int(os.environ.get("PRODUCT_SEARCH_TEST_ROUNDS", "2"))
AFTERWARDS = 20  # writes after the restart: recovery is not left alone either
COMMIT = "product_search.engine:_commit"


@dataclass(frozen=True)
class Step:
    """At which call of a function who dies: one that is drawn from the first so many."""

    name: str
    victim: Literal["service", "worker"]
    target: str
    when: Literal["before", "after"]
    passages: int = 6


STEPS = [
    Step("before commit", "service", COMMIT, "before", 40),
    Step("after commit", "service", COMMIT, "after", 40),
    Step("before a worker's commit", "worker", COMMIT, "before", 12),
    Step("after a worker's commit", "worker", COMMIT, "after", 12),
    Step("after claim", "worker", "product_search.indexing:Indexer._apply_claim", "before"),
    Step("during encode", "worker", "nlp_models:ChineseClipEncoder.encode_images", "before"),
    Step("after Milvus upsert", "worker", "pymilvus:MilvusClient.upsert", "after"),
    Step("after Milvus delete", "worker", "pymilvus:MilvusClient.delete", "after", 3),
    Step("before mark_done", "worker", "product_search.outbox:mark_done", "before"),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.replace(" ", "_"))
def test_whoever_is_killed_at_a_step_loses_nothing(place: Place, step: Step) -> None:
    # Where the service indexes by itself, it is the worker.
    victim = place.workers[0] if step.victim == "worker" and place.workers else "service"

    def die(chance: random.Random, _load: Load) -> int:
        place.start(victim, Failpoint(step.target, step.when, chance.randint(1, step.passages)))
        place.start_missing()
        place.wait_for_death(victim)
        return 1

    survive(place, step.name, die)


def test_whoever_is_killed_at_a_random_moment_loses_nothing(place: Place) -> None:
    def die(chance: random.Random, load: Load) -> int:
        place.start_all()
        load.wait(chance.randint(1, 60))
        time.sleep(chance.uniform(0, 0.05))  # any moment between two writes
        victims = chance.sample(sorted(place.processes), chance.randint(1, len(place.processes)))
        for victim in victims:
            place.kill(victim)
        for victim in victims:
            place.wait_for_death(victim)
        return len(victims)

    survive(place, "at a random moment", die)


def survive(place: Place, step: str, fault: Callable[[random.Random, Load], int]) -> None:
    """Let the fault happen under load, round after round: each time nothing is lost.

    `fault` gets the round's chance and returns how many processes it killed.
    """
    backend = "SQLite, Milvus Lite" if not place.workers else "MariaDB, Milvus"
    row, answers = tally(step, backend), place.ledger.answers
    before = answers.copy()
    for number in range(ROUNDS):
        seed = f"{SEED} {step} {number}"
        chance = random.Random(seed)
        with Load([place.address], place.ledger, chance) as load:
            row.kills += fault(chance, load)
            place.start_all()
            load.wait(AFTERWARDS)
        wrong = place.drift()
        row.rounds, row.drift = number + 1, row.drift + len(wrong)
        row.acknowledged = answers["acknowledged"] - before["acknowledged"]
        row.unanswered = answers["unanswered"] - before["unanswered"]
        assert not wrong, "\n".join([f"in the round {seed!r}:", *wrong, place.log()])
