"""The database that a benchmark writes into, empty before and after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from sqlalchemy import MetaData

from orm_models import Database
from product_search.bootstrap.migrate import migrate


@contextmanager
def empty_database(url: str) -> Iterator[Database]:
    """Open an empty database with its tables, and drop them at the end.

    Raises:
        SystemExit: there are tables, which somebody may need.
    """
    with closing(Database(url)) as database:
        if _tables(database).tables:
            raise SystemExit(f"{database.engine.url!r} has tables: name an empty database")
        try:
            migrate(database)
            yield database
        finally:
            _tables(database).drop_all(database.engine)


def _tables(database: Database) -> MetaData:
    there = MetaData()
    there.reflect(database.engine)
    return there
