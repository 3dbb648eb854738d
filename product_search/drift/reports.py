"""The doctor's runs: one at a time, their progress, and what they found as reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy.orm import Session

from data_models import DoctorRun, DriftExample, DriftKind, DriftReport, DriftRun
from orm_models import Database, Run
from product_search.runs import exclusive, queue as runs
from product_search.runs.queue import Problem, RunKind, RunState

EXAMPLES = 100  # of each kind; the counts are of all


class DriftOptions(BaseModel):
    """What a walk is asked to do: repair what it can, drop these collections that nobody uses."""

    repair: bool = False
    drop: list[str] = []


class DriftProgress(BaseModel):
    """How far a walk is and what it has found, as it is saved in its run after each step."""

    stage: Literal["collections", "stores", "pictures", "done"] = "collections"
    collections: list[str] = []  # those that are kept in step, the active one first
    absent: list[str] = []  # those of them that Milvus does not hold
    place: int = 0  # of the collection that is being compared
    after: int = -1  # the last key that was compared, of both stores
    folder: int = 0  # the first digit of the images' hashes
    products: int = 0
    entities: int = 0
    pictures: int = 0
    failed: int = 0
    found: dict[DriftKind, int] = {}
    repaired: dict[DriftKind, int] = {}

    @property
    def collection(self) -> str | None:
        """The collection that is being compared; None before there is any."""
        return self.collections[self.place] if self.collections else None

    def with_counts(self, found: Iterable[Problem], repaired: Iterable[Problem]) -> DriftProgress:
        """Further on by these findings, and by those of them that were repaired."""
        counts = {"found": _added(self.found, found), "repaired": _added(self.repaired, repaired)}
        return self.model_copy(update=counts)

    def examples(self, found: Sequence[Problem]) -> list[Problem]:
        """Those of these findings that are within the first EXAMPLES of their kind."""
        kept: list[Problem] = []
        for kind in DriftKind:
            ours = [one for one in found if one.kind == kind]
            kept += ours[: max(0, EXAMPLES - self.found.get(kind, 0))]
        return kept


def _added(counts: dict[DriftKind, int], findings: Iterable[Problem]) -> dict[DriftKind, int]:
    sums = dict(counts)
    for one in findings:
        kind = DriftKind(one.kind)
        sums[kind] = sums.get(kind, 0) + 1
    return sums


def enqueue(database: Database, options: DriftOptions) -> DoctorRun:
    """A walk that waits for the service's loop. Raises RunInProgress where one has not ended."""
    return _as_run(exclusive.enqueue(database, RunKind.doctor, options.model_dump()))


def fetch_last(session: Session) -> DriftRun | None:
    """The last walk that came to its end, without examples."""
    run = runs.find_latest(session, RunKind.doctor, RunState.done)
    return None if run is None else _as_drift(run, [])


def fetch_run(session: Session, run_id: int) -> DriftRun:
    """What this walk, which came to its end, found."""
    return _with_examples(session, session.get_one(Run, run_id))


def fetch_report(session: Session) -> DriftReport:
    """The last walk that came to its end with its examples, and the newest walk."""
    ended = runs.find_latest(session, RunKind.doctor, RunState.done)
    newest = runs.find_latest(session, RunKind.doctor)
    return DriftReport(
        last=None if ended is None else _with_examples(session, ended),
        newest=None if newest is None else _as_run(newest),
    )


def _with_examples(session: Session, run: Run) -> DriftRun:
    noted = runs.fetch_problems(session, run.id, 0, EXAMPLES * len(DriftKind))
    examples = [
        DriftExample(kind=DriftKind(one.kind), subject=one.subject, reason=one.reason)
        for one in noted
    ]
    return _as_drift(run, examples)


def _as_drift(run: Run, examples: list[DriftExample]) -> DriftRun:
    progress = DriftProgress.model_validate(run.progress)
    # A run that is done has both.
    assert run.started_at is not None
    assert run.finished_at is not None
    found = {kind: progress.found.get(kind, 0) for kind in DriftKind}
    repaired = {kind: progress.repaired.get(kind, 0) for kind in DriftKind}
    return DriftRun(
        run_id=run.id,
        repair=DriftOptions.model_validate(run.options).repair,
        started_at=run.started_at,
        finished_at=run.finished_at,
        seconds=(run.finished_at - run.started_at).total_seconds(),
        products=progress.products,
        entities=progress.entities,
        pictures=progress.pictures,
        failed=progress.failed,
        found=found,
        repaired=repaired,
        left=sum(found.values()) - sum(repaired.values()),
        examples=examples,
    )


def _as_run(run: Run) -> DoctorRun:
    values: dict[str, Any] = {"run_id": run.id, "state": run.state, "error": run.error}
    return DoctorRun(**values, repair=DriftOptions.model_validate(run.options).repair)
