"""The durable queue of runs: imports, reindexings, drift checks, insights, generations.

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
from product_search.changes.record import Origin
from product_search.database.clock import Clock, database_clock
from product_search.runs.changes import find_run_origin, record_run

# Longer than any lease, and than a transaction waits for others after it has asked for the time.
LONGEST_LEASE = timedelta(minutes=3)


class RunKind(StrEnum):
    """What a run does."""

    import_ = "import"
    local_import = "local_import"  # `manage import`, whose file no other process can count on
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
    """Another process has claimed the run since, or it was cancelled: stop at once."""


@dataclass(frozen=True)
class Problem:
    """What a run found wrong: its kind, the line, product or file that it is about, and why."""

    kind: str
    subject: str
    reason: str


@dataclass(frozen=True)
class RunClaim:
    """A claim of this process on a run, with the progress that was saved last."""

    id: int
    kind: RunKind
    token: str
    options: Mapping[str, Any]
    progress: Mapping[str, Any]
    origin: Origin | None = None


def enqueue(session: Session, kind: RunKind, options: Mapping[str, Any]) -> Run:
    """Return a new run, flushed, which waits for a process to claim it."""
    run = Run(kind=kind, state=RunState.queued, options=dict(options))
    session.add(run)
    session.flush()
    record_run(session, run, "started")
    return run


def claim(
    session: Session,
    kinds: Collection[RunKind],
    lease: timedelta,
    *,
    run_id: int | None = None,
    clock: Clock = database_clock,
) -> RunClaim | None:
    """Claim the oldest run of these kinds, or the given one; None where none can be claimed."""
    now = clock(session)
    conditions = _claimable(kinds, now)
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
    origin = find_run_origin(session, run.id)
    return RunClaim(run.id, RunKind(run.kind), token, run.options, run.progress, origin)


def has_claimable(
    session: Session, kinds: Collection[RunKind], clock: Clock = database_clock
) -> bool:
    """Return whether a claim would find a run; this takes no lock."""
    runs = select(Run.id).where(*_claimable(kinds, clock(session))).limit(1)
    return session.scalar(runs) is not None


def save(
    session: Session,
    claim: RunClaim,
    progress: Mapping[str, Any],
    lease: timedelta,
    clock: Clock = database_clock,
) -> None:
    """Save the run's progress in the transaction of the work itself, and renew the lease.

    Raises:
        RunLost: the claim is gone, and the transaction is to be rolled back.
    """
    values = {"progress": dict(progress), "lease_until": clock(session) + lease}
    _change(session, claim, values)


def renew(
    session: Session, claim: RunClaim, lease: timedelta, clock: Clock = database_clock
) -> None:
    """Renew the lease, while work that can't save progress goes on.

    Raises:
        RunLost: the claim is gone.
    """
    _change(session, claim, {"lease_until": clock(session) + lease})


def finish(
    session: Session,
    claim: RunClaim,
    state: RunState,
    error: str | None = None,
    clock: Clock = database_clock,
) -> None:
    """Finish the run as `done`, or as `failed` with the reason.

    Raises:
        RunLost: the claim is gone.
    """
    ended = {"state": state, "error": error and error[:500], "finished_at": clock(session)}
    run = _change(session, claim, ended | {"claim_token": None, "lease_until": None})
    record_run(session, run, "finished")


def release(session: Session, claim: RunClaim) -> None:
    """Release the run: another claim may go on with it at once.

    Raises:
        RunLost: the claim is gone.
    """
    _change(session, claim, {"claim_token": None, "lease_until": None})


def release_all(session: Session, kinds: Collection[RunKind]) -> None:
    """Release every run of the kinds: for the start of a process that alone may hold any."""
    freed = {"claim_token": None, "lease_until": None}
    session.execute(update(Run).where(Run.kind.in_(kinds)).values(freed))


def cancel(session: Session, run_id: int, clock: Clock = database_clock) -> bool:
    """Cancel an unfinished run, whoever holds it; return False where it has finished already."""
    run = session.get(Run, run_id, with_for_update=True, populate_existing=True)
    if run is None or run.state not in UNFINISHED:
        return False
    run.state, run.finished_at = RunState.cancelled, clock(session)
    run.claim_token = run.lease_until = None
    record_run(session, run, "cancelled")
    return True


def cancel_abandoned(session: Session, kind: RunKind, clock: Clock = database_clock) -> None:
    """Cancel the unfinished runs of the kind whose process has died, or that nobody holds."""
    abandoned = select(Run.id).where(*_claimable([kind], clock(session)))
    for run_id in session.scalars(abandoned.with_for_update()).all():
        cancel(session, run_id, clock)


def add_problems(session: Session, run_id: int, problems: Iterable[Problem]) -> None:
    """Add problems to those of the run."""
    rows = [
        {"run_id": run_id, "kind": one.kind, "subject": one.subject[:100], "reason": one.reason}
        for one in problems
    ]
    if rows:
        session.execute(insert(RunProblem), rows)


def replace_problems(session: Session, run_id: int, problems: Iterable[Problem]) -> None:
    """Replace all problems of the run, which may have some from before it was interrupted."""
    session.execute(delete(RunProblem).where(RunProblem.run_id == run_id))
    add_problems(session, run_id, problems)


def fetch_problems(session: Session, run_id: int, after: int, limit: int) -> Sequence[RunProblem]:
    """Return up to `limit` problems of the run with an id above `after`, by id."""
    found = select(RunProblem).where(RunProblem.run_id == run_id, RunProblem.id > after)
    return session.scalars(found.order_by(RunProblem.id).limit(limit)).all()


def fetch_problem_page(
    session: Session, run_id: int, after: int, limit: int
) -> tuple[Sequence[RunProblem], int | None]:
    """Return a page of the run's problems, and the `after` of the next page or None."""
    found = fetch_problems(session, run_id, after, limit + 1)
    page = found[:limit]
    return page, page[-1].id if len(found) > limit else None


def drop_older_problems(session: Session, kind: RunKind, before: int) -> None:
    """Delete the problems of the kind's runs with ids below `before`, whose own replace them."""
    older_runs = select(Run.id).where(Run.kind == kind, Run.id < before)
    with_problems = select(RunProblem.run_id).where(RunProblem.run_id.in_(older_runs)).distinct()
    old = session.scalars(with_problems).all()
    session.execute(delete(RunProblem).where(RunProblem.run_id.in_(old)))


def drop_older_runs(session: Session, claim: RunClaim) -> None:
    """Delete finished runs of the same kind and options that are older than the claimed run."""
    ended = select(Run.id, Run.options).where(
        Run.kind == claim.kind, Run.id < claim.id, Run.state.not_in(UNFINISHED)
    )
    old = [row.id for row in session.execute(ended) if row.options == claim.options]
    session.execute(delete(Run).where(Run.id.in_(old)))


def get_run(session: Session, run_id: int) -> Run:
    """Return the run as it stands now."""
    return session.get_one(Run, run_id)


def find_latest(session: Session, kind: RunKind, *states: RunState) -> Run | None:
    """Return the newest run of the kind, in one of the states where any are given."""
    found = select(Run).where(Run.kind == kind)
    if states:
        found = found.where(Run.state.in_(states))
    return session.scalar(found.order_by(Run.id.desc()).limit(1))


def list_unfinished(session: Session, kind: RunKind) -> Sequence[Run]:
    """Return the queued and running runs of the kind, newest first."""
    found = select(Run).where(Run.kind == kind, Run.state.in_(UNFINISHED))
    return session.scalars(found.order_by(Run.id.desc())).all()


def is_lease(until: datetime, now: datetime) -> bool:
    """Return whether a lease that ends then holds now.

    What ends later than any lease can was begun by a clock that has been set back since.
    """
    return now < until <= now + LONGEST_LEASE


def _claimable(kinds: Collection[RunKind], now: datetime) -> list[ColumnElement[bool]]:
    until = Run.lease_until
    unheld = or_(Run.claim_token.is_(None), until <= now, until > now + LONGEST_LEASE)
    return [Run.kind.in_(kinds), Run.state.in_(UNFINISHED), unheld]


def _change(session: Session, claim: RunClaim, values: Mapping[str, Any]) -> Run:
    run = session.get(Run, claim.id, with_for_update=True, populate_existing=True)
    if run is None or run.claim_token != claim.token:
        raise RunLost(f"run {claim.id} is no longer held")
    for name, value in values.items():
        setattr(run, name, value)
    return run
