"""The log of changes as it is read, and the end of its old records."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from data_models import ChangeOut, ChangesPage, ChangesQuery
from orm_models import ChangeRecord, Database

_DROPPED_AT_ONCE = 5_000  # a transaction of some milliseconds, which writes wait for on SQLite


def list_changes(session: Session, query: ChangesQuery) -> ChangesPage:
    """Return a page of the records that meet the query, newest first."""
    found = _chosen(query).order_by(ChangeRecord.id.desc()).limit(query.limit + 1)
    rows = session.scalars(found).all()
    page = rows[: query.limit]
    return ChangesPage(
        items=[_as_out(row) for row in page],
        next_after=page[-1].id if len(rows) > query.limit else None,
    )


def drop_old(database: Database, kept: int) -> int:
    """Drop some of the records that are older than the newest `kept`; return how many."""
    last = database.read(_find_last_old, kept)
    return 0 if last is None else database.write(_drop, last)


def _find_last_old(session: Session, kept: int) -> int | None:
    """Return the last record to drop now; None where there is none.

    Ids are as good as a count: only transactions that were undone have left gaps.
    """
    ends = select(func.min(ChangeRecord.id), func.max(ChangeRecord.id))
    oldest, newest = session.execute(ends).one()
    if oldest is None or newest - oldest < kept:
        return None
    return int(min(newest - kept, oldest + _DROPPED_AT_ONCE - 1))


def _drop(session: Session, last: int) -> int:
    result: Any = session.execute(delete(ChangeRecord).where(ChangeRecord.id <= last))
    return int(result.rowcount)


def _chosen(query: ChangesQuery) -> Select[Any]:
    found = select(ChangeRecord)
    if query.after:
        found = found.where(ChangeRecord.id < query.after)
    if query.operation is not None:
        found = found.where(ChangeRecord.operation == query.operation)
    if query.product_id is not None:
        subject = ChangeRecord.subject_kind == "product", ChangeRecord.subject_id
        found = found.where(subject[0], subject[1] == str(query.product_id))
    if query.since is not None:
        found = found.where(ChangeRecord.at >= query.since)
    return found


def _as_out(row: ChangeRecord) -> ChangeOut:
    return ChangeOut(
        change_id=row.id,
        at=row.at,
        operation=row.operation,
        principal=row.principal,
        key_id=row.key_id,
        request_id=row.request_id,
        subject_kind=row.subject_kind,
        subject_id=row.subject_id,
        count=row.count,
        detail=row.detail,
    )
