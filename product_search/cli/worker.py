"""The worker: indexing as a process of its own, any number of them."""

from __future__ import annotations

import logging
import signal
import threading

from product_search import tracing
from product_search.bootstrap import logs
from product_search.bootstrap.assemble import open_worker
from product_search.bootstrap.loops import open_indexing_loop
from product_search.errors import AppError, StartError
from product_search.indexing.indexer import Indexer
from product_search.indexing.startup import open_existing_collections
from product_search.settings import Settings, load_log_format, load_settings

log = logging.getLogger(__name__)

_POLL_S = 1.0


def main() -> int:
    """Index until SIGTERM or SIGINT; 0 then, 2 where it can't start, as the message explains."""
    logs.configure("worker", load_log_format())
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    try:
        settings = load_settings()
        with tracing.sending_to(settings.otlp_endpoint, "worker"), open_worker(settings) as indexer:
            run(settings, indexer, stopping)
    except AppError as error:  # a store is down: its own words say which and why
        log.error("%s（%s）", error, str(error.__cause__).partition("\n")[0])
        return 2
    except StartError as error:
        log.error("%s", error)
        return 2
    log.info("已停止")
    return 0


def run(settings: Settings, indexer: Indexer, stopping: threading.Event) -> None:
    """Index from when the service has made its collections until told to stop.

    The batch in hand is finished first.
    """
    while not open_existing_collections(indexer.collections):
        log.info("等待服务建好向量集合（一直等待时，请重启服务）")
        if stopping.wait(_POLL_S):
            return
    with open_indexing_loop(settings, indexer) as loop:
        loop.start()
        log.info("开始建立索引")
        # Over and over: a signal that comes just before a wait without end does not end it.
        while not stopping.wait(_POLL_S):
            pass
