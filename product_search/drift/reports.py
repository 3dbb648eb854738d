"""Drift runs: their options and progress, how they are enqueued, and what they found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy.orm import Session

from data_models import DoctorRun, DriftExample, DriftKind, DriftReport, DriftRun
from orm_models import Database, Run
from product_search.runs import exclusive, queue
from product_search.runs.queue import Problem, RunKind, RunState

EXAMPLES = 100  # of each kind; the counts are of all


class DriftOptions(BaseModel):
    """What a drift run has to do: repair what it can, drop these collections that nobody uses."""

    repair: bool = False
    drop: list[str] = []


class DriftProgress(BaseModel):
    """How far a drift run is and what it has found, as saved in the run after each step."""

    stage: Literal["collections", "stores", "pictures", "done"] = "collections"
    collections: list[str] = []  # kept in step, the active one first
    absent: list[str] = []  # those of them that Milvus lacks
    place: int = 0  # index of the collection that is being compared
    after: int = -1  # the last key of both stores that was compared
    folder: int = 0  # first digit of the next images' hashes
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
        """Return the progress with the found problems and the repaired ones counted."""
        counts = {"found": _added(self.found, found), "repaired": _added(self.repaired, repaired)}
        return self.model_copy(update=counts)

    def examples(self, found: Sequence[Problem]) -> list[Problem]:
        """Return those of the found problems that are within the first EXAMPLES of their kind."""
        kept: list[Problem] = []
        for kind in DriftKind:
            ours = [one for one in found if one.kind == kind]
            kept += ours[: max(0, EXAMPLES - self.found.get(kind, 0))]
        return kept


def _added(counts: dict[DriftKind, int], problems: Iterable[Problem]) -> dict[DriftKind, int]:
    sums = dict(counts)
    for one in problems:
        kind = DriftKind(one.kind)
        sums[kind] = sums.get(kind, 0) + 1
    return sums


def enqueue(database: Database, options: DriftOptions) -> DoctorRun:
    """Enqueue a drift run for the service.

    Raises:
        RunInProgress: a drift run has not finished.
    """
    return _to_doctor_run(exclusive.enqueue(database, RunKind.doctor, options.model_dump()))


def fetch_last(session: Session) -> DriftRun | None:
    """Return the last drift run that is done, without examples; None before the first."""
    run = queue.find_latest(session, RunKind.doctor, RunState.done)
    return None if run is None else _to_drift_run(run, [])


def fetch_run(session: Session, run_id: int) -> DriftRun:
    """Return what the drift run, which is done, found."""
    return _with_examples(session, session.get_one(Run, run_id))


def fetch_report(session: Session) -> DriftReport:
    """Return the last drift run that is done, with examples, and the newest drift run."""
    ended = queue.find_latest(session, RunKind.doctor, RunState.done)
    newest = queue.find_latest(session, RunKind.doctor)
    return DriftReport(
        last=None if ended is None else _with_examples(session, ended),
        newest=None if newest is None else _to_doctor_run(newest),
    )


def _with_examples(session: Session, run: Run) -> DriftRun:
    problems = queue.fetch_problems(session, run.id, 0, EXAMPLES * len(DriftKind))
    examples = [
        DriftExample(kind=DriftKind(one.kind), subject=one.subject, reason=one.reason)
        for one in problems
    ]
    return _to_drift_run(run, examples)


def _to_drift_run(run: Run, examples: list[DriftExample]) -> DriftRun:
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


def _to_doctor_run(run: Run) -> DoctorRun:
    values: dict[str, Any] = {"run_id": run.id, "state": run.state, "error": run.error}
    return DoctorRun(**values, repair=DriftOptions.model_validate(run.options).repair)
