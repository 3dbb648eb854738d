"""Runs in the log of changes: a record as one starts, and one with its counts as it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.orm import Session

from data_models import ChangeOperation
from orm_models import Run
from product_search.changes.record import Origin, Subject, find_origin, record_change
from product_search.context import SERVICE, acting_as, within_request

Moment = Literal["started", "finished", "cancelled"]
# By name of the work: what its record tells of the run's options, and of its progress.
_OPTIONS = {"reindex": ("encoder", "rate"), "repair": ("drop",)}
_PROGRESS = {
    "import": ("rows_total", "rows_done", "created", "updated", "unchanged", "bad", "warned"),
    "reindex": ("collection", "queued", "total"),
    "repair": ("found", "repaired"),
}


def record_run(session: Session, run: Run, moment: Moment) -> None:
    """Record that a run was started, finished or cancelled, if it is one that changes anything."""
    work = _work(run)
    if work is None:
        return
    count = 0 if moment == "started" else _count(work, run.progress or {})
    subject = Subject("run", run.id, count)
    record_change(session, ChangeOperation(f"{work}_{moment}"), subject, _detail(work, run, moment))


def find_run_origin(session: Session, run_id: int) -> Origin | None:
    """Return who has started the run; None where it changes nothing, or was started long ago."""
    return find_origin(session, Subject("run", run_id))


@contextmanager
def as_started_by(origin: Origin | None) -> Iterator[None]:
    """Have what is done inside the block be done for whoever has started the run."""
    principal, request_id = origin or Origin(SERVICE)
    with acting_as(principal), within_request(request_id):
        yield


def _work(run: Run) -> str | None:
    """Return what the run does, as operations name it; None where it changes nothing."""
    options = run.options
    does = {
        "import": True,
        "local_import": True,
        "reindex": "encoder" in options,  # else it drops collections, whose end is recorded
        "doctor": bool(options.get("repair") or options.get("drop")),
        "generate": True,
    }
    names = {"local_import": "import", "doctor": "repair", "generate": "generation"}
    return names.get(run.kind, run.kind) if does.get(run.kind) else None


def _detail(work: str, run: Run, moment: Moment) -> dict[str, Any]:
    if moment == "started":
        told = {name: run.options.get(name) for name in _OPTIONS.get(work, ())}
        return told | ({"file": Path(run.options.get("file", "")).name} if work == "import" else {})
    progress = run.progress or {}
    told = {name: progress.get(name) for name in _PROGRESS.get(work, ()) if name in progress}
    return {"state": run.state, **told}


def _count(work: str, progress: Mapping[str, Any]) -> int:
    """Return how much the run has changed so far."""
    if work == "import":
        return int(progress.get("created", 0)) + int(progress.get("updated", 0))
    if work == "repair":
        return sum(progress.get("repaired", {}).values())
    if work == "generation":
        return len(progress.get("pictures", ()))
    return int(progress.get("queued", 0))
