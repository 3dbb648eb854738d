"""Work that a command waits for: carried out here, or by the service that holds the Milvus file."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from orm_models import Database
from product_search.bootstrap.stores import open_database
from product_search.milvus.milvus_lite import FileLock, VectorFileBusy
from product_search.runs import exclusive, queue
from product_search.runs.exclusive import ExclusiveKind
from product_search.runs.executor import LEASE, RunContext, execute
from product_search.runs.queue import UNFINISHED, RunLost, RunState
from product_search.settings import Settings

log = logging.getLogger(__name__)

POLL_S = 0.2


class RunHandler(Protocol):
    """Carries out runs of one kind, with the stores that they need open."""

    @property
    def database(self) -> Database:
        """Where the runs are kept."""
        ...

    def handle(self, context: RunContext) -> None:
        """Carry out the claimed run: see Handler in runs.executor."""
        ...


def wait_while(is_going_on: Callable[[], bool], service: FileLock | None) -> bool:
    """Poll until the work is over; False where the service went away before.

    `service` is the lock that the service holds while it runs; None where this process works.
    """
    while is_going_on():
        if service is not None and service.holder() is None:
            return False
        time.sleep(POLL_S)
    return True


def run_to_end(
    settings: Settings,
    opened: AbstractContextManager[RunHandler],
    kind: ExclusiveKind,
    options: Mapping[str, Any],
) -> int | None:
    """Have a new run carried out: here, or by the service where it holds the Milvus file.

    Returns the run's id; None where the run did not get done, and the log says why.

    Raises:
        RunInProgress: another process holds a run of the kind.
    """
    try:
        with opened as handler:
            return _run_here(handler, kind, options)
    except VectorFileBusy as busy:
        log.info("Milvus 文件由另一个进程使用（%s）：由它%s", busy.holder, exclusive.NAMES[kind])
        return _run_in_service(settings, kind, options)


def _run_here(handler: RunHandler, kind: ExclusiveKind, options: Mapping[str, Any]) -> int | None:
    database = handler.database
    claim = exclusive.start(database, kind, options, LEASE)
    try:
        execute(RunContext(database, claim, threading.Event()), handler.handle)
    except RunLost:  # cancelled, or taken over while this process was stopped
        log.warning("这次运行已不由本进程进行")
    return _id_if_done(database, claim.id)


def _run_in_service(
    settings: Settings, kind: ExclusiveKind, options: Mapping[str, Any]
) -> int | None:
    with open_database(settings) as database:
        run_id = exclusive.enqueue(database, kind, options).id

        def is_unfinished() -> bool:
            return database.read(queue.get_run, run_id).state in UNFINISHED

        if wait_while(is_unfinished, FileLock(settings.milvus_path)):
            return _id_if_done(database, run_id)
    log.error("服务已停止：运行未完成（编号 %d），会在它下次启动时继续", run_id)
    return None


def _id_if_done(database: Database, run_id: int) -> int | None:
    run = database.read(queue.get_run, run_id)
    if run.state == RunState.done:
        return run_id
    log.error("运行未完成（编号 %d，%s）：%s", run_id, run.state, run.error or "被中止")
    return None
