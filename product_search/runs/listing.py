"""The list of all runs, each with its progress as two counts: done and total."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Row, case, func, select
from sqlalchemy.orm import Session

from data_models import PageQuery, RunOut, RunsPage
from orm_models import Product, Run
from product_search.runs.queue import RunKind, RunState

# By kind: the progress's field for what is done and, where it has one, for the total.
_COUNTS: dict[str, tuple[str, str | None]] = {
    RunKind.import_: ("rows_done", "rows_total"),
    RunKind.local_import: ("rows_done", "rows_total"),
    RunKind.reindex: ("queued", "total"),
    RunKind.doctor: ("products", None),
    RunKind.duplicates: ("products", None),
    RunKind.audit: ("checked", None),
    RunKind.generate: ("step", "steps"),
}
_COLUMNS = (
    Run.id,
    Run.kind,
    Run.state,
    Run.options,
    # A map's progress is the map itself, and large.
    case((Run.kind != RunKind.map, Run.progress)).label("progress"),
    Run.error,
    Run.created_at,
    Run.started_at,
    Run.finished_at,
)


def list_runs(session: Session, query: PageQuery) -> RunsPage:
    """Return a page of the runs, newest first."""
    found = select(*_COLUMNS).order_by(Run.id.desc()).limit(query.limit + 1)
    if query.after:
        found = found.where(Run.id < query.after)
    rows = session.execute(found).all()
    page = rows[: query.limit]
    products = _count_products(session) if any(_is_running_check(row) for row in page) else None
    return RunsPage(
        items=[_as_out(row, products) for row in page],
        next_after=page[-1].id if len(rows) > query.limit else None,
    )


def count_by_state(session: Session) -> dict[str, float]:
    """Return how many runs there are in each state."""
    rows = session.execute(select(Run.state, func.count()).group_by(Run.state))
    return dict.fromkeys(RunState, 0.0) | {state: float(count) for state, count in rows}


def _is_running_check(row: Row[Any]) -> bool:
    return row.kind == RunKind.doctor and row.finished_at is None


def _count_products(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Product)) or 0


def _as_out(row: Row[Any], products: int | None) -> RunOut:
    done, total = _counts(row.kind, row.progress or {})
    if done is not None and products is not None and _is_running_check(row):
        total = max(done, products)  # a check doesn't count ahead
    return RunOut(
        run_id=row.id,
        kind=row.kind,
        state=row.state,
        subject=_subject(row.kind, row.options),
        done=done,
        total=total,
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _counts(kind: str, progress: Mapping[str, Any]) -> tuple[int | None, int | None]:
    done, total = _COUNTS.get(kind, ("", None))
    return progress.get(done), None if total is None else progress.get(total)


def _subject(kind: str, options: Mapping[str, Any]) -> str | None:
    if kind in (RunKind.import_, RunKind.local_import):
        return Path(options["file"]).name
    if kind == RunKind.doctor:
        return "repair" if options.get("repair") else None
    if kind == RunKind.reindex:
        return options.get("encoder")
    if kind == RunKind.generate:
        return options.get("prompt")
    return options.get("field") if kind == RunKind.map else None
