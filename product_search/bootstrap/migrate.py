"""The relational store's tables: migrated to the newest revision, or checked to be at it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from orm_models import Database
from product_search.database.transactions import for_writes, take_lock, translated, without_hurry
from product_search.errors import StartError
from product_search.settings import ROOT

log = logging.getLogger(__name__)

COMMAND = "python -m product_search.manage migrate"


def open_schema(database: Database) -> None:
    """Migrate the embedded default; require of a server's database that it is migrated.

    Raises:
        StartError: the database is not migrated, or is a newer release's.
        DatabaseUnavailable: the database does not answer.
    """
    if database.engine.dialect.name == "sqlite":
        migrate(database)
    elif current_revision(database) != head_revision():
        raise StartError(
            f"数据库的表结构（{current_revision(database) or '空'}）不是本版本所需的"
            f"（{head_revision()}）：请先运行 {COMMAND}"
        )


def migrate(database: Database) -> None:
    """Bring the tables to the newest revision; safe to repeat, and at the same time elsewhere.

    Raises:
        StartError: the database is a newer release's, or another migration takes too long.
        DatabaseUnavailable: the database does not answer.
    """
    before, head = current_revision(database), head_revision()
    if before == head:
        return
    with translated(), _locked(database) as connection:
        _refuse_newer(connection)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    log.info("database schema: %s -> %s", before or "empty", head)


def current_revision(database: Database) -> str | None:
    """Return the revision that the tables are at; None before the first."""
    with translated(), database.engine.connect() as connection:
        return _revision(connection)


def head_revision() -> str | None:
    """Return the newest revision in migrations/."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(connection: Connection) -> None:
    current = _revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in known:
        raise StartError(f"数据库的表结构（{current}）来自更新的版本：请使用那个版本的程序")


@contextmanager
def _locked(database: Database) -> Iterator[Connection]:
    """Open a transaction that no other migration of this database runs beside.

    SQLite's own write lock does it; MySQL, which commits at each change of a table, needs a
    lock of its own.
    """
    with for_writes(without_hurry(database.engine)).connect() as connection:
        if connection.dialect.name == "sqlite":
            with connection.begin():
                yield connection
            return
        if not take_lock(connection, "schema"):
            raise StartError("另一个进程正在迁移数据库：请稍后重试")
        connection.commit()  # the migration reads what was committed while it waited
        try:
            with connection.begin():
                yield connection
        finally:
            connection.invalidate()  # the lock ends with its connection, after the last commit


def _config() -> Config:
    config = Config()
    # `%` begins an interpolation in Alembic's configuration.
    config.set_main_option("script_location", str(ROOT / "migrations").replace("%", "%%"))
    return config
