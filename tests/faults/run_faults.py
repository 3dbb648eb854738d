"""Faults in the middle of long work: imports, by command and over HTTP, and reindexings."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
from sqlalchemy import select
from sqlalchemy.orm import Session

from orm_models import Run
from product_search.indexing import reindex
from product_search.runs import queue
from tests.clock import DEADLINE_S, until
from tests.faults.doomed import Failpoint
from tests.faults.importing import csv_of
from tests.faults.ledger import Content, Tracked
from tests.faults.load import Load, title
from tests.faults.places import Place
from tests.sessions import reading, writing

COMMIT = "product_search.database.transactions:_commit"
ROWS = 450
# Around the claim of an import, its only batch, and its end: calls that commit right after.
IMPORT_STEPS = [f"product_search.runs.queue:{name}" for name in ("claim", "save", "finish")]


def _contents(chance: random.Random, prefix: str) -> dict[str, Content]:
    return {
        f"{prefix}-{n}": Content(title(chance), f"{chance.randrange(1000)}.50") for n in range(ROWS)
    }


def during_import(place: Place, chance: random.Random, _load: Load) -> int:
    """`manage import` dies at one of its commits; the file is then imported once more."""
    place.start_all()
    contents = _contents(chance, "I")
    file = place.settings.data_dir / "products.csv"
    file.write_text(csv_of(contents), "utf-8")
    command = ["manage", "import", str(file)]
    place.processes["import"] = place.process(
        command, Failpoint(COMMIT, chance.choice(["before", "after"]), chance.randint(1, 3))
    )
    place.wait_for_death("import")
    again = place.processes["import"] = place.process(command)
    again.join(DEADLINE_S)
    assert again.exitcode == 0, "the import did not go on"
    for sku, content in contents.items():
        place.ledger.add(Tracked(sku, {content}))
    return 1


def during_uploaded_import(place: Place, chance: random.Random, _load: Load) -> int:
    """The service dies while it carries out an import; started again, it goes on by itself."""
    contents = _contents(chance, "U")
    target = chance.choice(IMPORT_STEPS)
    place.start("service", Failpoint(target, chance.choice(["before", "after"]), 1))
    place.start_all()
    possible: set[Content | None] = set()
    try:
        file = {"file": ("products.csv", csv_of(contents).encode())}
        answer = httpx.post(f"{place.addresses[0]}/product/import", files=file, timeout=60)
        assert answer.status_code == 202, answer.text
    except httpx.TransportError:
        possible = {None}  # it died before it had answered
    place.wait_for_death("service")
    place.start_all()
    finish_runs(place)
    for sku, content in contents.items():
        place.ledger.add(Tracked(sku, {content, *possible}))
    return 1


def during_reindexing(place: Place, chance: random.Random, load: Load) -> int:
    """Some processes die while a new encoder's collection is filled, or as it takes over."""
    place.start_all()  # the first collection is of the first encoders
    place.stop_all()
    place.offer_other_encoders(chance.randrange(2**31))
    place.start_all()
    rate = chance.choice([None, 100])
    run_id = place.database.write(reindex.start, "chinese-clip", rate)

    def begun(session: Session) -> bool:
        return "collection" in session.get_one(Run, run_id).progress

    until(lambda: place.database.read(begun), "the filling")
    load.wait(chance.randint(1, 60))
    running = [*place.services, *place.workers]
    victims = chance.sample(running, chance.randint(1, len(running)))
    for victim in victims:
        place.kill(victim)
    for victim in victims:
        place.wait_for_death(victim)
    place.afterwards = partial(_end_reindexing, place)
    return len(victims)


def _end_reindexing(place: Place) -> None:
    """What is filled in waits behind the writes of the load, which has ended by now."""
    finish_runs(place)
    place.take_over_encoders()
    place.database.write(reindex.drop_previous)
    finish_runs(place)


def finish_runs(place: Place) -> None:
    """Until the services have carried out all that was queued; leases of the dead end at once."""
    unfinished = select(Run).where(
        Run.state.in_(queue.UNFINISHED), Run.kind != queue.RunKind.local_import
    )
    with writing(place.database) as session:
        for run in session.scalars(unfinished):
            run.lease_until = datetime.now(UTC) - timedelta(days=1)  # by any process's clock

    def done() -> bool:
        with reading(place.database) as session:
            return session.scalars(unfinished).first() is None

    until(done, "the end of the runs")
