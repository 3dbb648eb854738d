"""Sessions for tests that look into a database, or prepare it, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from orm_models import Database
from product_search.database.transactions import for_writes


@contextmanager
def reading(database: Database) -> Iterator[Session]:
    """A session whose rows stay readable after its end."""
    with Session(database.engine, expire_on_commit=False) as session:
        yield session


@contextmanager
def writing(database: Database) -> Iterator[Session]:
    """A session in one transaction, committed at the end."""
    with Session(for_writes(database.engine), expire_on_commit=False) as session, session.begin():
        yield session
