"""Runs over the whole catalog, of which there is at most one unfinished of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy.orm import Session

from orm_models import Database, Run
from product_search.database.transactions import LockPurpose
from product_search.errors import RunInProgress
from product_search.runs import queue
from product_search.runs.queue import UNFINISHED, RunClaim, RunKind

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
