"""Workers as processes of their own, and what can be seen of their work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from orm_models import Database, OutboxEvent
from product_search.settings import Settings
from tests.clock import DEADLINE_S
from tests.servers import service_environment
from tests.sessions import reading


@contextmanager
def worker(data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | service_environment(data_dir)
    command = [sys.executable, "-m", "product_search.worker"]
    process = subprocess.Popen(
        command, cwd=data_dir, env=environment | {"PRODUCT_SEARCH_INDEX_BATCH_SIZE": "8"}
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)  # a test may have stopped it
        process.terminate()
        process.wait(DEADLINE_S)


def claimed(settings: Settings) -> int:
    """How many events bear a claim."""
    database = Database(settings.sqlalchemy_url)
    try:
        with reading(database) as session:
            return session.scalar(select(func.count(OutboxEvent.claim_token))) or 0
    finally:
        database.close()


def stopped_in_a_batch(process: subprocess.Popen[bytes], settings: Settings) -> bool:
    """Stop the worker where it has a batch in hand; else let it run on."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    if claimed(settings):
        return True
    process.send_signal(signal.SIGCONT)
    return False


def total(address: str, status: str) -> int:
    page: dict[str, Any] = httpx.get(
        f"{address}/product/list", params={"index_status": status, "page_size": 1}
    ).json()
    return int(page["total"])
