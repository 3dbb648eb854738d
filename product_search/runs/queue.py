"""The one durable table of long work: imports, reindexings, walks, surveys, generations.

A run is claimed by one process at a time, with a lease that `save` and `renew` prolong; when that
process dies, another goes on from the progress that was saved last. Progress is saved in the
transaction of the work that it tells of, so that nothing is done twice and nothing is left out.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, or_, select, update
from sqlalchemy.orm import Session

from orm_models import Run, RunProblem
from product_search.database.clock import Clock, database_clock


class RunKind(StrEnum):
    """What a run does."""

    import_ = "import"
    local_import = "local_import"  # of `manage import`, whose file no other process can count on
    reindex = "reindex"
    doctor = "doctor"
    duplicates = "duplicates"
    audit = "audit"
    map = "map"
    generate = "generate"


class RunState(StrEnum):
    """How far a run is; the last three are final."""

    queued = "queued"
    running = "running"
    done = "done"
    failed = "failed"
    cancelled = "cancelled"


UNFINISHED = (RunState.queued, RunState.running)


class RunLost(Exception):
    """The lease ended and another process has taken the run, or it was cancelled: stop at once."""


@dataclass(frozen=True)
class Problem:
    """One thing found wrong: its kind, the line, product or file it is about, and why."""

    kind: str
    subject: str
    reason: str


@dataclass(frozen=True)
class RunClaim:
    """A run that this process holds, with the progress that was saved last."""

    id: int
    kind: RunKind
    token: str
    options: Mapping[str, Any]
    progress: Mapping[str, Any]


def enqueue(session: Session, kind: RunKind, options: Mapping[str, Any]) -> Run:
    """A new run that waits for a process to take it; it has its id."""
    run = Run(kind=kind, state=RunState.queued, options=dict(options))
    session.add(run)
    session.flush()
    return run


def claim(
    session: Session,
    kinds: Collection[RunKind],
    lease: timedelta,
    *,
    run_id: int | None = None,
    clock: Clock = database_clock,
) -> RunClaim | None:
    """Take the oldest run of these kinds, or the given one; None where nobody could take any."""
    now = clock(session)
    conditions = _free(kinds, now)
    if run_id is not None:
        conditions.append(Run.id == run_id)
    oldest = select(Run).where(*conditions).order_by(Run.id).limit(1)
    # SQLite has no SKIP LOCKED and needs none: one transaction at a time may write.
    run = session.scalar(oldest.with_for_update(skip_locked=True))
    if run is None:
        return None
    token = secrets.token_hex(16)
    run.state, run.claim_token, run.lease_until = RunState.running, token, now + lease
    run.started_at = run.started_at or now
    return RunClaim(run.id, RunKind(run.kind), token, run.options, run.progress)


def has_claimable(
    session: Session, kinds: Collection[RunKind], clock: Clock = database_clock
) -> bool:
    """Whether a claim would find a run; takes no lock."""
    free = select(Run.id).where(*_free(kinds, clock(session))).limit(1)
    return session.scalar(free) is not None


def save(
    session: Session,
    taken: RunClaim,
    progress: Mapping[str, Any],
    lease: timedelta,
    clock: Clock = database_clock,
) -> None:
    """Save how far the run is, in the transaction of what was done; the lease begins anew.

    Raises RunLost, so that the transaction is rolled back.
    """
    values = {"progress": dict(progress), "lease_until": clock(session) + lease}
    _change(session, taken, values)


def renew(
    session: Session, taken: RunClaim, lease: timedelta, clock: Clock = database_clock
) -> None:
    """The lease begins anew, while work that can't save progress goes on. Raises RunLost."""
    _change(session, taken, {"lease_until": clock(session) + lease})


def finish(
    session: Session,
    taken: RunClaim,
    state: RunState,
    error: str | None = None,
    clock: Clock = database_clock,
) -> None:
    """End the run: `done`, or `failed` with its reason. Raises RunLost."""
    ended = {"state": state, "error": error and error[:500], "finished_at": clock(session)}
    _change(session, taken, ended | {"claim_token": None, "lease_until": None})


def release(session: Session, taken: RunClaim) -> None:
    """Give the run back, for whoever takes it next to go on with at once. Raises RunLost."""
    _change(session, taken, {"claim_token": None, "lease_until": None})


def release_all(session: Session, kinds: Collection[RunKind]) -> None:
    """End every claim of the kinds: for the process that alone may hold one, when it starts."""
    freed = {"claim_token": None, "lease_until": None}
    session.execute(update(Run).where(Run.kind.in_(kinds)).values(freed))


def cancel(session: Session, run_id: int, clock: Clock = database_clock) -> bool:
    """End an unfinished run, whoever holds it; False where it has ended already."""
    run = session.get(Run, run_id, with_for_update=True)
    if run is None or run.state not in UNFINISHED:
        return False
    run.state, run.finished_at = RunState.cancelled, clock(session)
    run.claim_token = run.lease_until = None
    return True


def cancel_abandoned(session: Session, kind: RunKind, clock: Clock = database_clock) -> None:
    """End the runs of a kind that no process goes on with, where theirs has died."""
    now = clock(session)
    ended = {
        "state": RunState.cancelled,
        "finished_at": now,
        "claim_token": None,
        "lease_until": None,
    }
    session.execute(update(Run).where(*_free([kind], now)).values(ended))


def add_problems(session: Session, run_id: int, problems: Iterable[Problem]) -> None:
    """Add what was found wrong."""
    rows = [
        {"run_id": run_id, "kind": one.kind, "subject": one.subject[:100], "reason": one.reason}
        for one in problems
    ]
    if rows:
        session.execute(insert(RunProblem), rows)


def replace_problems(session: Session, run_id: int, problems: Iterable[Problem]) -> None:
    """What was found wrong, in place of what the run had noted before it was cut off."""
    session.execute(delete(RunProblem).where(RunProblem.run_id == run_id))
    add_problems(session, run_id, problems)


def fetch_problems(session: Session, run_id: int, after: int, limit: int) -> Sequence[RunProblem]:
    """What was found wrong, in order: up to `limit` with an id above `after`."""
    found = select(RunProblem).where(RunProblem.run_id == run_id, RunProblem.id > after)
    return session.scalars(found.order_by(RunProblem.id).limit(limit)).all()


def fetch_problem_page(
    session: Session, run_id: int, after: int, limit: int
) -> tuple[Sequence[RunProblem], int | None]:
    """As problems; and the `after` of the next page, None where there is none."""
    found = fetch_problems(session, run_id, after, limit + 1)
    shown = found[:limit]
    return shown, shown[-1].id if len(found) > limit else None


def drop_older_problems(session: Session, kind: RunKind, before: int) -> None:
    """Those of the runs of the kind with ids below this one, which has taken their place."""
    runs_of_kind = select(Run.id).where(Run.kind == kind, Run.id < before)
    noted = select(RunProblem.run_id).where(RunProblem.run_id.in_(runs_of_kind)).distinct()
    old = session.scalars(noted).all()
    session.execute(delete(RunProblem).where(RunProblem.run_id.in_(old)))


def drop_older_runs(session: Session, taken: RunClaim) -> None:
    """Delete ended runs that were asked for the same before this one, which takes their place."""
    ended = select(Run.id, Run.options).where(
        Run.kind == taken.kind, Run.id < taken.id, Run.state.not_in(UNFINISHED)
    )
    old = [row.id for row in session.execute(ended) if row.options == taken.options]
    session.execute(delete(Run).where(Run.id.in_(old)))


def find_latest(session: Session, kind: RunKind, *states: RunState) -> Run | None:
    """The newest run of the kind, of those in these states where any are given."""
    found = select(Run).where(Run.kind == kind)
    if states:
        found = found.where(Run.state.in_(states))
    return session.scalar(found.order_by(Run.id.desc()).limit(1))


def list_unfinished(session: Session, kind: RunKind) -> Sequence[Run]:
    """The runs of the kind that are queued or under way, the newest first."""
    found = select(Run).where(Run.kind == kind, Run.state.in_(UNFINISHED))
    return session.scalars(found.order_by(Run.id.desc())).all()


def _free(kinds: Collection[RunKind], now: datetime) -> list[ColumnElement[bool]]:
    unheld = or_(Run.claim_token.is_(None), Run.lease_until <= now)
    return [Run.kind.in_(kinds), Run.state.in_(UNFINISHED), unheld]


def _change(session: Session, taken: RunClaim, values: Mapping[str, Any]) -> None:
    run = session.get(Run, taken.id, with_for_update=True, populate_existing=True)
    if run is None or run.claim_token != taken.token:
        raise RunLost(f"run {taken.id} is no longer held")
    for name, value in values.items():
        setattr(run, name, value)
