"""Engines and transactions: how a database is opened, when a transaction is run again."""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    FromClause,
    NullPool,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    TimeoutError as PoolTimeout,
)
from sqlalchemy.orm import Session

from product_search.errors import (
    DatabaseNotWritable,
    DatabaseUnavailable,
    OutcomeUnknown,
    StartError,
)

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
LOCK_WAIT_S = 60
SQLITE_WAIT_S = 10

_SERVER_SHUTDOWN = 1053  # the last error of a server that shuts down; SQLAlchemy knows the others
# The server has ended the transaction for another's sake: a deadlock, and (MariaDB from 11.6 on) a
# row that changed after it was read. Not 1205, a lock that did not come: that was a long wait.
_ROLLED_BACK = frozenset({1213, 1020})
# A full disk or table, a file that can't be written, a server that is read-only.
_NOT_WRITABLE = frozenset({1021, 1114, 1026, 1290, 1836})
_SQLITE_NOT_WRITABLE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY})
_SQLITE_WRITE_FAILED = frozenset({sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC})
_MAX_ROLLBACKS = 3
_PAUSE_S = 0.02  # on average, before the first repeat; each later one twice as long


LockPurpose = Literal["schema", "collection", "doctor", "duplicates", "audit", "map", "generate"]
# Of one database: locks are the server's. MySQL allows 64 characters, MariaDB more; MD5, which
# would do, is gone from MySQL 9.
LOCK_NAME = "CONCAT(:purpose, '.', LEFT(SHA2(DATABASE(), 256), 40))"
_LOCK = text(f"SELECT GET_LOCK({LOCK_NAME}, :wait)")


@dataclass(frozen=True)
class Pool:
    """How many connections are kept, how long, and how long each is waited for.

    Sizes, then seconds.
    """

    size: int = 20
    max_overflow: int = 10
    timeout_s: float = 30.0
    recycle_s: int = 1800
    # Until a server answers a statement; one that is gone without a word never would. It is longer
    # than any lock is waited for.
    answer_s: float = 120.0

    def arguments(self) -> dict[str, Any]:
        """Return the pool as arguments of create_engine."""
        return {
            "pool_size": self.size,
            "max_overflow": self.max_overflow,
            "pool_timeout": self.timeout_s,
            "pool_recycle": self.recycle_s,
        }

    def all_kept(self) -> dict[str, Any]:
        """Return the same, but keep also what is opened beyond the size: a file's connection.

        It costs little, and opening one takes longer than the search that it is opened for.
        """
        return self.arguments() | {"pool_size": self.size + self.max_overflow, "max_overflow": 0}


class _HintingCompiler(SQLiteCompiler):
    """SQL for SQLite with the hints of statements, such as INDEXED BY, which SQLAlchemy drops."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        """Return the hint, which follows the table's name."""
        return text


def open_engine(url: str, pool: Pool) -> Engine:
    """Return an engine, not connected yet.

    Raises:
        StartError: the URL can't be used.
    """
    try:
        return _new_engine(url, pool)
    except (ArgumentError, ImportError, TypeError, ValueError) as error:
        raise StartError(f"PRODUCT_SEARCH_DATABASE_URL 无法使用：{error}") from error


def _new_engine(url: str, pool: Pool) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        # No ping when a connection is taken and no ROLLBACK when it is given back, two of the five
        # round trips of a small write: a lost one is replaced by the repeat of the work, and a
        # session has ended its transaction itself.
        patience = _patience(make_url(url), pool.answer_s)
        engine = create_engine(
            url, pool_reset_on_return=None, connect_args=patience, **pool.arguments()
        )
        event.listen(engine, "handle_error", _notice_shutdown)
        return engine
    engine = create_engine(
        url, connect_args={"timeout": SQLITE_WAIT_S}, pool_use_lifo=True, **pool.all_kept()
    )

    engine.dialect.statement_compiler = _HintingCompiler

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # sqlite3's own BEGIN comes too late; ours follows
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A transaction that reads and then writes must hold the write lock from the start,
        # or SQLite refuses it as soon as another one has written in between.
        statement = connection.get_execution_options().get("sqlite_begin", "BEGIN")
        try:
            # By the driver: SQLAlchemy's way costs as much as a short query.
            connection.connection.driver_connection.execute(statement)
        except sqlite3.Error as error:
            raise DBAPIError.instance(statement, (), error, sqlite3.Error) from error

    return engine


def _patience(url: URL, answer_s: float) -> dict[str, Any]:
    """Return how long PyMySQL waits, but for what the URL itself says; it sets no end to either."""
    if url.get_driver_name() != "pymysql":
        return {}
    waits = {"read_timeout": answer_s, "write_timeout": answer_s}
    return {name: wait for name, wait in waits.items() if name not in url.query}


def without_hurry(engine: Engine) -> Engine:
    """Return an engine for changes of tables, which take as long as they do."""
    if engine.dialect.name == "sqlite":
        return engine
    return create_engine(engine.url, poolclass=NullPool)


class WriteTurns:
    """Turns to write, among the threads of this process that share a SQLite file.

    SQLite lets one write at a time and has the others look again and again after pauses, in no
    order: with 16 threads that took longer than their writes (benchmarks.write_throughput).
    """

    def __init__(self, engine: Engine) -> None:
        """Prepare turns for the engine; only SQLite needs any."""
        self._lock = threading.Lock() if engine.dialect.name == "sqlite" else None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, where it is SQLite.

        Raises:
            DatabaseUnavailable: no turn came for as long as SQLite itself waits.
        """
        if self._lock is None:
            yield
        elif self._lock.acquire(timeout=SQLITE_WAIT_S):
            try:
                yield
            finally:
                self._lock.release()
        else:
            raise DatabaseUnavailable("数据库暂时不可用，请稍后重试")


def for_writes(engine: Engine) -> Engine:
    """Return the engine with transactions that hold SQLite's write lock from their start."""
    return engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")


def _notice_shutdown(context: ExceptionContext) -> None:
    if _number(context.original_exception) == _SERVER_SHUTDOWN:
        context.is_disconnect = True


def _number(error: BaseException | None) -> object:
    """Return the server's number of the error, a driver's first argument."""
    arguments = getattr(error, "args", ())
    return arguments[0] if arguments else None


def run_read(
    open_session: Callable[[], Session],
    query: Callable[Concatenate[Session, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Return `query(session, *args, **kwargs)`; run again where the database undid it.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """

    def read() -> T:
        with open_session() as session:
            return query(session, *args, **kwargs)

    with translated():
        return _run_again_if_undone(read)


def run_write(
    open_session: Callable[[], Session],
    change: Callable[Concatenate[Session, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Return `change(session, *args, **kwargs)`, committed; rolled back on any error.

    Where the connection is lost before COMMIT is sent, the change runs once more as a whole, and
    up to three times more where it is a deadlock's victim: the server has rolled it back.

    Raises:
        OutcomeUnknown: the connection was lost after COMMIT was sent.
        DatabaseUnavailable: the database does not answer; nothing was written.
    """

    def write() -> T:
        with open_session() as session:
            result = change(session, *args, **kwargs)
            session.flush()  # the last statements before COMMIT: these may be done again
            _commit(session)
            return result

    with translated():
        return _run_again_if_undone(write)


def _commit(session: Session) -> None:
    try:
        session.commit()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise OutcomeUnknown(
            "与数据库的连接在提交时中断：改动可能已保存，也可能没有；请先查看，再决定是否重试"
        ) from error


def _run_again_if_undone(attempt: Callable[[], T]) -> T:
    """Attempt once more after a lost connection, a few times after a rollback by the server.

    Either way the server has undone all that the attempt did.
    """
    lost = rolled_back = 0
    while True:
        try:
            return attempt()
        except DBAPIError as error:
            if error.connection_invalidated and not lost:
                lost = 1
            elif _number(error.orig) in _ROLLED_BACK and rolled_back < _MAX_ROLLBACKS:
                rolled_back += 1
                # Not all of those that met come back at the same moment.
                time.sleep(random.uniform(0, _PAUSE_S) * 2**rolled_back)
            else:
                raise
            log.warning("the database undid a transaction: once more (%s)", error.orig)


@contextmanager
def translated() -> Iterator[None]:
    """Translate the driver's errors to DatabaseUnavailable where not the data is at fault.

    Wrong data and broken constraints are the caller's to handle, or bugs; the rest is the
    database that can't be reached, is locked, damaged or shutting down, or DatabaseNotWritable.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if type(error) in (DataError, IntegrityError, ProgrammingError, NotSupportedError):
            raise
        kind = DatabaseNotWritable if _forbids_writing(error) else DatabaseUnavailable
        raise kind(kind.example) from error


def _forbids_writing(error: DBAPIError | PoolTimeout) -> bool:
    cause = getattr(error, "orig", None)
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        return _number(cause) in _NOT_WRITABLE
    return code & 0xFF in _SQLITE_NOT_WRITABLE or code in _SQLITE_WRITE_FAILED


def take_lock(connection: Connection, purpose: LockPurpose) -> bool:
    """Take this database's lock of the purpose; return False where another process keeps it.

    A MySQL lock ends with its connection: invalidate it. SQLite has none: True, at once.
    """
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.scalar(_LOCK, {"purpose": purpose, "wait": LOCK_WAIT_S}))


def read_committed(session: Session) -> None:
    """Lock rows alone on MySQL, not the gaps into which other writers put new ones."""
    if session.get_bind().dialect.name != "sqlite":
        session.connection(execution_options={"isolation_level": "READ COMMITTED"})
