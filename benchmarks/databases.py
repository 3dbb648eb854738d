"""The database that a benchmark writes into: empty when it begins, and again when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from sqlalchemy import MetaData

from orm_models import Database
from product_search.bootstrap.migrate import migrate


@contextmanager
def empty_database(url: str) -> Iterator[Database]:
    """With tables made, and dropped at the end. Exits where there are any: somebody needs them."""
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
