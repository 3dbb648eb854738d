"""Connections and transactions: how an engine is opened, when a transaction is done again."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    ExceptionContext,
    create_engine,
    event,
    make_url,
    text,
)
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

from product_search.errors import DatabaseUnavailable, OutcomeUnknown, StartError

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
LOCK_WAIT_S = 60
SQLITE_WAIT_S = 10

_SERVER_SHUTDOWN = 1053  # what a server that is going down says last; SQLAlchemy knows the others
# The server has ended the transaction for another's sake: a deadlock, and (MariaDB from 11.6 on) a
# row that changed after it was read. Not 1205, a lock that did not come: that was a long wait.
_BEATEN = frozenset({1213, 1020})
_BEATEN_AT_MOST = 3
_PAUSE_S = 0.02  # on average, before the first repeat; each later one twice as long


LockPurpose = Literal["schema", "collection", "doctor", "duplicates", "audit", "map", "generate"]
# Of one database: locks are the server's. MySQL allows 64 characters, MariaDB more; MD5, which
# would do, is gone from MySQL 9.
LOCK_NAME = "CONCAT(:purpose, '.', LEFT(SHA2(DATABASE(), 256), 40))"
_LOCK = text(f"SELECT GET_LOCK({LOCK_NAME}, :wait)")


@dataclass(frozen=True)
class Pool:
    """How many connections are kept and how long: sizes, then seconds."""

    size: int = 20
    max_overflow: int = 10
    timeout_s: float = 30.0
    recycle_s: int = 1800

    def arguments(self) -> dict[str, Any]:
        """As create_engine takes them."""
        return {
            "pool_size": self.size,
            "max_overflow": self.max_overflow,
            "pool_timeout": self.timeout_s,
            "pool_recycle": self.recycle_s,
        }


def open_engine(url: str, pool: Pool) -> Engine:
    """An engine; nothing is connected yet. Raises StartError where the URL can't be used."""
    try:
        return _new_engine(url, pool)
    except (ArgumentError, ImportError, TypeError, ValueError) as error:
        raise StartError(f"PRODUCT_SEARCH_DATABASE_URL 无法使用：{error}") from error


def _new_engine(url: str, pool: Pool) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        # No ping when a connection is taken and no ROLLBACK when it is given back, two of the five
        # round trips of a small write: a lost one is replaced by the repeat of the work, and a
        # session has ended its transaction itself.
        engine = create_engine(url, pool_reset_on_return=None, **pool.arguments())
        event.listen(engine, "handle_error", _notice_shutdown)
        return engine
    engine = create_engine(url, connect_args={"timeout": SQLITE_WAIT_S}, **pool.arguments())

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
        options = connection.get_execution_options()
        connection.exec_driver_sql(options.get("sqlite_begin", "BEGIN"))

    return engine


class WriteTurns:
    """Who may write next, among the threads of this process that share a SQLite file.

    SQLite lets one write at a time and has the others look again and again after pauses, in no
    order: with 16 threads that took longer than their writes (benchmarks.write_throughput).
    """

    def __init__(self, engine: Engine) -> None:
        self._lock = threading.Lock() if engine.dialect.name == "sqlite" else None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Alone, where it is SQLite. Raises DatabaseUnavailable after as long as SQLite waits."""
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
    """The same engine, its transactions holding SQLite's write lock from their start."""
    return engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")


def _notice_shutdown(context: ExceptionContext) -> None:
    if _number(context.original_exception) == _SERVER_SHUTDOWN:
        context.is_disconnect = True


def _number(error: BaseException | None) -> object:
    """The server's number of the error; drivers give it first."""
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
        return _again_if_undone(read)


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
        return _again_if_undone(write)


def _commit(session: Session) -> None:
    try:
        session.commit()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise OutcomeUnknown(
            "与数据库的连接在提交时中断：改动可能已保存，也可能没有；请先查看，再决定是否重试"
        ) from error


def _again_if_undone(attempt: Callable[[], T]) -> T:
    """Once more where the connection was lost, a few times where others were let through first.

    Either way the server has undone all that the attempt did.
    """
    lost = beaten = 0
    while True:
        try:
            return attempt()
        except DBAPIError as error:
            if error.connection_invalidated and not lost:
                lost = 1
            elif _number(error.orig) in _BEATEN and beaten < _BEATEN_AT_MOST:
                beaten += 1
                # Not all of those that met come back at the same moment.
                time.sleep(random.uniform(0, _PAUSE_S) * 2**beaten)
            else:
                raise
            log.warning("the database undid a transaction: once more (%s)", error.orig)


@contextmanager
def translated() -> Iterator[None]:
    """The driver's errors as DatabaseUnavailable, where the database and not its data is at fault.

    Wrong data and broken constraints are the caller's to handle, or bugs; the rest is the
    database that can't be reached, is locked, damaged, full or shutting down.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if type(error) in (DataError, IntegrityError, ProgrammingError, NotSupportedError):
            raise
        raise DatabaseUnavailable("数据库暂时不可用，请稍后重试") from error


def take_lock(connection: Connection, purpose: LockPurpose) -> bool:
    """Whether nobody else holds this database's lock of the purpose, for as long as `connection`.

    A MySQL lock ends with its connection: invalidate it. SQLite has none: True, at once.
    """
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.scalar(_LOCK, {"purpose": purpose, "wait": LOCK_WAIT_S}))


def read_committed(session: Session) -> None:
    """On MySQL: lock rows alone, not the gaps into which other writers put new ones."""
    if session.get_bind().dialect.name != "sqlite":
        session.connection(execution_options={"isolation_level": "READ COMMITTED"})
