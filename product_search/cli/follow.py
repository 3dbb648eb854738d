"""A run for a command: carried out here, or by the service that holds the Milvus file."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from data_models import AuditPage, DuplicatesPage
from orm_models import Database, Run
from product_search.bootstrap.assemble import open_database
from product_search.runs import exclusive
from product_search.runs.exclusive import ExclusiveKind
from product_search.runs.executor import LEASE, Handler, RunContext, execute
from product_search.runs.queue import UNFINISHED, RunClaim, RunLost, RunState
from product_search.settings import Settings
from vector_db import FileLock, VectorFileBusy

log = logging.getLogger(__name__)

POLL_S = 0.2

Page = TypeVar("Page", AuditPage, DuplicatesPage)


class Surveyor(Protocol):
    """Carries out runs of one kind, with the stores that it needs open."""

    @property
    def database(self) -> Database:
        """Where the runs are kept."""
        ...

    def handle(self, context: RunContext) -> None:
        """See Handler in runs.executor."""
        ...


def ended(
    settings: Settings,
    opened: AbstractContextManager[Surveyor],
    kind: ExclusiveKind,
    options: Mapping[str, Any],
) -> int | None:
    """The run, once it has come to its end; None, and why in the log, where it did not.

    Carried out here, or, where a service holds the Milvus file, by that service.

    Raises RunInProgress where another process holds one.
    """
    try:
        with opened as surveyor:
            claimed = exclusive.start(surveyor.database, kind, options, LEASE)
            run_id = claimed.id
            is_done = _carried_out(surveyor.database, claimed, surveyor.handle)
    except VectorFileBusy as busy:
        log.info("Milvus 文件由另一个进程使用（%s）：由它%s", busy.holder, exclusive.NAMES[kind])
        with open_database(settings) as database:
            run_id = exclusive.enqueue(database, kind, options).id
            is_done = _followed(database, FileLock(settings.milvus_path), run_id)
    return run_id if is_done else None


def pages(read: Callable[[int], Page]) -> Iterator[Page]:
    """Every page from the first on; `read` is given the `after` of each."""
    after: int | None = 0
    while after is not None:
        page = read(after)
        yield page
        after = page.next_after


def _carried_out(database: Database, claimed: RunClaim, handler: Handler) -> bool:
    """Do it here; False, and why in the log, where it did not come to its end."""
    context = RunContext(database, claimed, threading.Event())
    try:
        execute(context, handler)
    except RunLost:  # cancelled, or taken over while this process was stopped: as it says below
        log.warning("这次运行已不由本进程进行")
    return _is_done(database, claimed.id)


def _followed(database: Database, lock: FileLock, run_id: int) -> bool:
    """Wait for the service to do it; False, and why in the log, where it did not."""
    while _state(database, run_id).state in UNFINISHED:
        if lock.holder() is None:
            log.error("服务已停止：运行未完成（编号 %d），会在它下次启动时继续", run_id)
            return False
        time.sleep(POLL_S)
    return _is_done(database, run_id)


def _is_done(database: Database, run_id: int) -> bool:
    run = _state(database, run_id)
    if run.state == RunState.done:
        return True
    log.error("运行未完成（编号 %d，%s）：%s", run_id, run.state, run.error or "被中止")
    return False


def _state(database: Database, run_id: int) -> Run:
    return database.read(lambda session: session.get_one(Run, run_id))
