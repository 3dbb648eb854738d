"""The database's own clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

Clock = Callable[[Session], datetime]


def database_clock(session: Session) -> datetime:
    """Return the current time by the database's clock, on which all workers agree.

    SQLite is a file on this machine, whose clock it is.
    """
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = session.scalars(select(func.utc_timestamp(6))).one()
    return now.replace(tzinfo=UTC)
