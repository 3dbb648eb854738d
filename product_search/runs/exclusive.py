"""Runs of which there is one of a kind at a time: all go over the whole catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel
from sqlalchemy.orm import Session

from data_models import SurveyQuery, SurveyRun
from orm_models import Database, Run, RunProblem
from product_search.database.transactions import LockPurpose
from product_search.errors import RunInProgress
from product_search.runs import queue as runs
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
_PURPOSES: dict[ExclusiveKind, LockPurpose] = {
    RunKind.doctor: "doctor",
    RunKind.duplicates: "duplicates",
    RunKind.audit: "audit",
    RunKind.map: "map",
}


@dataclass(frozen=True)
class ProblemPage(Generic[RunModel]):
    """One page of what the last run that came to its end has noted, and the newest run."""

    last: RunModel | None
    newest: RunModel | None
    noted: Sequence[RunProblem]
    next_after: int | None


def enqueue(database: Database, kind: ExclusiveKind, options: Mapping[str, Any]) -> Run:
    """A run that waits for the service's loop. Raises RunInProgress where one has not ended."""

    def add(session: Session) -> Run:
        _check_none(session, kind)
        return runs.enqueue(session, kind, options)

    with database.alone(_PURPOSES[kind]):
        return database.write(add)


def start(
    database: Database, kind: ExclusiveKind, options: Mapping[str, Any], lease: timedelta
) -> RunClaim:
    """A run that this process carries out; one that nobody holds is cancelled for it.

    Raises RunInProgress where another process holds one.
    """

    def add(session: Session) -> RunClaim:
        while left := runs.claim(session, [kind], lease):
            runs.cancel(session, left.id)
        _check_none(session, kind)
        run = runs.enqueue(session, kind, options)
        claimed = runs.claim(session, [kind], lease, run_id=run.id)
        assert claimed is not None  # nobody else sees it before the commit
        return claimed

    with database.alone(_PURPOSES[kind]):
        return database.write(add)


def _check_none(session: Session, kind: ExclusiveKind) -> None:
    unfinished = runs.find_latest(session, kind, *UNFINISHED)
    if unfinished is not None:
        raise RunInProgress(f"已有一次{NAMES[kind]}尚未结束（编号 {unfinished.id}），请等它结束")


def save_result(context: RunContext, progress: BaseModel, found: Sequence[Problem]) -> None:
    """Save all that the run has found; at its end it takes the place of what others had."""
    database, claimed = context.database, context.claim

    def save(session: Session) -> None:
        runs.replace_problems(session, claimed.id, found)
        runs.save(session, claimed, progress.model_dump(), LEASE)

    def forget(session: Session) -> None:
        runs.drop_older_problems(session, claimed.kind, claimed.id)

    database.write(save)
    context.on_finish(lambda: database.write(forget))  # till then the last is shown


def to_model(run: Run, model: type[RunModel]) -> RunModel:
    """The run as the API shows it: what has become of it, and its progress."""
    told = {"run_id": run.id, "state": run.state, "error": run.error}
    return model.model_validate({**told, "finished_at": run.finished_at, **run.progress})


def fetch_page(
    session: Session, kind: ExclusiveKind, model: type[RunModel], query: SurveyQuery
) -> ProblemPage[RunModel]:
    """What the last run that came to its end has noted, as asked for."""
    last = runs.find_latest(session, kind, RunState.done)
    newest = runs.find_latest(session, kind)
    noted: Sequence[RunProblem] = []
    next_after = None
    if last is not None:
        noted, next_after = runs.fetch_problem_page(session, last.id, query.after, query.limit)
    return ProblemPage(
        last=None if last is None else to_model(last, model),
        newest=None if newest is None else to_model(newest, model),
        noted=noted,
        next_after=next_after,
    )
