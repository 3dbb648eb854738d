"""The list of runs on every database: each kind's counts, in pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from data_models import ImportCounts, PageQuery, RunOut, RunsPage, VectorField
from orm_models import Database, Product
from product_search.drift import reports
from product_search.indexing import startup
from product_search.indexing.reindex import Progress as ReindexProgress
from product_search.insights import audit
from product_search.runs import generations, listing, queue
from product_search.runs.queue import RunKind, RunState
from tests.sessions import reading, writing

LEASE = timedelta(seconds=30)
FIELD = VectorField.image_clip.value
OPTIONS: dict[RunKind, dict[str, Any]] = {
    RunKind.import_: {"file": "products.zip", "upload": "0f"},
    RunKind.local_import: {"file": "/home/shop/products.csv"},
    RunKind.reindex: {"encoder": "chinese-clip", "rate": None},
    RunKind.doctor: reports.DriftOptions(repair=True).model_dump(),
    RunKind.map: {"field": FIELD},
    RunKind.audit: {},
    RunKind.duplicates: {},
    RunKind.generate: {"prompt": "红色双肩包"},
}
COUNTED = ImportCounts(rows_total=9, rows_done=4, created=3, bad=1).model_dump()
REINDEXED: ReindexProgress = {"collection": "c", "last_id": 2, "queued": 2, "total": 3}
PROGRESS: dict[RunKind, dict[str, Any]] = {
    RunKind.import_: COUNTED,
    RunKind.local_import: COUNTED,
    RunKind.reindex: dict(REINDEXED),
    RunKind.doctor: reports.DriftProgress(products=1).model_dump(),
    RunKind.map: {"total": 2, "x": [0.5, 1]},
    RunKind.audit: audit.AuditProgress(checked=2).model_dump(),
    RunKind.duplicates: {"products": 2, "groups": 1},
    RunKind.generate: generations.GenerationProgress(model="m", step=3, steps=8).model_dump(),
}


def listed(database: Database, **query: Any) -> RunsPage:
    with reading(database) as session:
        return listing.list_runs(session, PageQuery(**query))


def under_way(session: Session, kind: RunKind) -> queue.RunClaim:
    """A run of the kind that has saved its progress."""
    run_id = queue.enqueue(session, kind, OPTIONS[kind]).id
    taken = queue.claim(session, [kind], LEASE, run_id=run_id)
    assert taken is not None
    queue.save(session, taken, PROGRESS[kind], LEASE)
    return taken


def only(database: Database) -> RunOut:
    [run] = listed(database).items
    return run


@pytest.mark.parametrize(
    ("kind", "subject", "done", "total"),
    [
        (RunKind.import_, "products.zip", 4, 9),
        (RunKind.local_import, "products.csv", 4, 9),
        (RunKind.reindex, "chinese-clip", 2, 3),
        (RunKind.doctor, "repair", 1, 2),  # of the two products that there are
        (RunKind.map, FIELD, None, None),
        (RunKind.audit, None, 2, None),
        (RunKind.duplicates, None, 2, None),
        (RunKind.generate, "红色双肩包", 3, 8),
    ],
)
def test_each_kind_tells_what_it_is_about_and_how_far_it_is(
    database: Database, kind: RunKind, subject: str | None, done: int | None, total: int | None
) -> None:
    with writing(database) as session:
        session.add_all([Product(title="书包"), Product(title="雨伞")])
        under_way(session, kind)
    run = only(database)
    assert (run.kind, run.state, run.subject) == (kind, "running", subject)
    assert (run.done, run.total) == (done, total)
    assert run.is_under_way
    assert run.started_at is not None


def test_a_run_that_ended_has_its_reason_and_one_that_waits_has_no_counts(
    database: Database,
) -> None:
    with writing(database) as session:
        taken = under_way(session, RunKind.doctor)
        queue.finish(session, taken, RunState.failed, "断电")
        queue.enqueue(session, RunKind.import_, OPTIONS[RunKind.import_])
    waits, ended = listed(database).items
    assert (ended.state, ended.error, ended.done, ended.total) == ("failed", "断电", 1, None)
    assert ended.finished_at is not None
    assert not ended.is_under_way
    assert (waits.state, waits.done, waits.total) == ("queued", None, None)


def test_a_run_that_only_drops_collections_names_no_encoder(database: Database) -> None:
    with writing(database) as session:
        startup.retire_collections(session, [])
    assert (only(database).kind, only(database).subject) == ("reindex", None)


def test_pages_are_the_whole_list_newest_first(database: Database) -> None:
    with writing(database) as session:
        made = [queue.enqueue(session, kind, OPTIONS[kind]).id for kind in OPTIONS]
    seen: list[int] = []
    after = 0
    while True:
        page = listed(database, limit=3, after=after)
        seen += [run.run_id for run in page.items]
        if page.next_after is None:
            break
        after = page.next_after
    assert seen == made[::-1]
    assert {run.kind for run in listed(database).items} == set(RunKind)
