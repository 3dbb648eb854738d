"""A run for a command: carried out here, or by the service that holds the Milvus file."""

from __future__ import annotations

import logging
import threading
import time

from orm_models import Database, Run
from product_search.run_loop import Handler, RunContext, carry_out
from product_search.runs import UNFINISHED, Claimed, RunLost, State
from vector_db import FileLock

log = logging.getLogger(__name__)

POLL_S = 0.2


def carried_out(database: Database, claimed: Claimed, handler: Handler) -> bool:
    """Do it here; False, and why in the log, where it did not come to its end."""
    context = RunContext(database, claimed, threading.Event())
    try:
        carry_out(context, handler)
    except RunLost:  # cancelled, or taken over while this process was stopped: as it says below
        log.warning("这次运行已不由本进程进行")
    return _is_done(database, claimed.id)


def followed(database: Database, lock: FileLock, run_id: int) -> bool:
    """Wait for the service to do it; False, and why in the log, where it did not."""
    while _state(database, run_id).state in UNFINISHED:
        if lock.holder() is None:
            log.error("服务已停止：运行未完成（编号 %d），会在它下次启动时继续", run_id)
            return False
        time.sleep(POLL_S)
    return _is_done(database, run_id)


def _is_done(database: Database, run_id: int) -> bool:
    run = _state(database, run_id)
    if run.state == State.done:
        return True
    log.error("运行未完成（编号 %d，%s）：%s", run_id, run.state, run.error or "被中止")
    return False


def _state(database: Database, run_id: int) -> Run:
    return database.read(lambda session: session.get_one(Run, run_id))
