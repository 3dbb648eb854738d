"""Runs over the whole catalog, of which there is at most one unfinished of each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel
from sqlalchemy.orm import Session

from data_models import SurveyQuery, SurveyRun
from orm_models import Database, Run, RunProblem
from product_search.database.transactions import LockPurpose
from product_search.errors import RunInProgress
from product_search.runs import queue
from product_search.runs.executor import LEASE, RunContext
from product_search.runs.queue import UNFINISHED, Problem, RunClaim, RunKind, RunState

RunModel = TypeVar("RunModel", bound=SurveyRun)

ExclusiveKind = Literal[RunKind.doctor, RunKind.duplicates, RunKind.audit, RunKind.map]
NAMES: dict[ExclusiveKind, str] = {
    RunKind.doctor: "核对",
    RunKind.duplicates: "查重",
    RunKind.audit: "图文核查",
    RunKind.map: "目录图",
}
_LOCKS: dict[ExclusiveKind, LockPurpose] = {
    RunKind.doctor: "doctor",
    RunKind.duplicates: "duplicates",
    RunKind.audit: "audit",
    RunKind.map: "map",
}


@dataclass(frozen=True)
class ProblemPage(Generic[RunModel]):
    """One page of the problems of the last run that is done, with that run and the newest run."""

    last: RunModel | None
    newest: RunModel | None
    problems: Sequence[RunProblem]
    next_after: int | None


def enqueue(database: Database, kind: ExclusiveKind, options: Mapping[str, Any]) -> Run:
    """Return a new run of the kind, which waits for the service's executor.

    Raises:
        RunInProgress: a run of the kind has not finished.
    """
    with database.alone(_LOCKS[kind]):
        return database.write(_enqueue, kind, options)


def start(
    database: Database, kind: ExclusiveKind, options: Mapping[str, Any], lease: timedelta
) -> RunClaim:
    """Return a claim on a new run of the kind, for this process to carry out.

    An unfinished run that no process holds is cancelled in its favour.

    Raises:
        RunInProgress: another process holds a run of the kind.
    """
    with database.alone(_LOCKS[kind]):
        return database.write(_start, kind, options, lease)


def _enqueue(session: Session, kind: ExclusiveKind, options: Mapping[str, Any]) -> Run:
    unfinished = queue.find_latest(session, kind, *UNFINISHED)
    if unfinished is not None:
        raise RunInProgress(f"已有一次{NAMES[kind]}尚未结束（编号 {unfinished.id}），请等它结束")
    return queue.enqueue(session, kind, options)


def _start(
    session: Session, kind: ExclusiveKind, options: Mapping[str, Any], lease: timedelta
) -> RunClaim:
    while abandoned := queue.claim(session, [kind], lease):
        queue.cancel(session, abandoned.id)
    run = _enqueue(session, kind, options)
    claim = queue.claim(session, [kind], lease, run_id=run.id)
    assert claim is not None  # nobody else sees the run before the commit
    return claim


def save_result(context: RunContext, progress: BaseModel, problems: Sequence[Problem]) -> None:
    """Save all that the run has found; the problems of older runs go once this run is finished."""
    database, claim = context.database, context.claim
    database.write(_save_result, claim, progress, problems)
    # Not earlier: until then the last finished run is shown.
    context.on_finish(
        partial(database.write, queue.drop_older_problems, claim.kind, claim.id),
    )


def _save_result(
    session: Session, claim: RunClaim, progress: BaseModel, problems: Sequence[Problem]
) -> None:
    queue.replace_problems(session, claim.id, problems)
    queue.save(session, claim, progress.model_dump(), LEASE)


def to_model(run: Run, model: type[RunModel]) -> RunModel:
    """Return the run as the API's model: its state, its error and its progress."""
    state = {"run_id": run.id, "state": run.state, "error": run.error}
    return model.model_validate({**state, "finished_at": run.finished_at, **run.progress})


def fetch_page(
    session: Session, kind: ExclusiveKind, model: type[RunModel], query: SurveyQuery
) -> ProblemPage[RunModel]:
    """Return the page of problems that the query asks for, of the last run that is done."""
    last = queue.find_latest(session, kind, RunState.done)
    newest = queue.find_latest(session, kind)
    problems: Sequence[RunProblem] = []
    next_after = None
    if last is not None:
        problems, next_after = queue.fetch_problem_page(session, last.id, query.after, query.limit)
    return ProblemPage(
        last=None if last is None else to_model(last, model),
        newest=None if newest is None else to_model(newest, model),
        problems=problems,
        next_after=next_after,
    )
