"""`manage reindex`: a new encoder without downtime, its rollback and its end."""

from __future__ import annotations

import logging
from typing import Any

from tqdm import tqdm

from orm_models import Database
from product_search.bootstrap.assemble import open_resources
from product_search.bootstrap.stores import open_database
from product_search.cli.follow import wait_while
from product_search.errors import StartError
from product_search.indexing import collections, reindex
from product_search.indexing.reindex import ReindexRefused
from product_search.milvus.milvus_lite import FileLock, VectorFileBusy
from product_search.runs import queue
from product_search.runs.queue import UNFINISHED, RunKind, RunState
from product_search.settings import Settings

log = logging.getLogger(__name__)


def switch_encoder(settings: Settings, encoder: str, rate: int | None) -> int:
    """Fill a collection of this encoder, `rate` products a second at most, and switch to it."""
    with open_database(settings) as database:
        run_id = database.write(reindex.start, encoder, rate)
        _see_through(settings, database, run_id)
    log.info("已切换到 %s。旧集合保留着：--rollback 换回，--drop-old 删除", encoder)
    return 0


def show_status(settings: Settings) -> int:
    """Tell the live collections, and how the last reindexing went."""
    with open_database(settings) as database:
        live, last = (
            database.read(collections.fetch_live),
            database.read(queue.find_latest, RunKind.reindex),
        )
    for role, row in live.items():
        log.info("%s：%s（%s），自 %s", role, row.name, row.encoder or "?", row.role_since)
    if last is not None:
        done, total = last.progress.get("queued", 0), last.progress.get("total", "?")
        log.info(
            "最近一次（第 %d 号）：%s，%s / %s %s",
            last.id,
            last.state,
            done,
            total,
            last.error or "",
        )
    return 0


def cancel(settings: Settings) -> int:
    """Cancel the reindexing under way, and drop the collection that it has begun."""
    with open_database(settings) as database:
        run_id = database.write(reindex.cancel)
        log.info("已取消")
        _drop(settings, database, run_id)
    return 0


def roll_back(settings: Settings) -> int:
    """Switch back to the collection before."""
    with open_database(settings) as database:
        active = database.write(reindex.roll_back)
    log.info("已换回 %s（%s）：运行中的服务一秒内跟上", active.name, active.encoder)
    return 0


def drop_old(settings: Settings) -> int:
    """Drop the collection before; nothing can be switched back to then."""
    with open_database(settings) as database:
        run_id = database.write(reindex.drop_previous)
        log.info("已不再使用旧集合")
        _drop(settings, database, run_id)
    return 0


def give_up_active(settings: Settings) -> int:
    """Give the active collection up, whose weights are lost; a service's start makes a new one."""
    with open_database(settings) as database:
        given_up = database.write(reindex.retire_active)
    log.info(
        "已放弃 %s：运行中的服务从此不能搜索和索引，（重新）启动一个服务，它会新建集合",
        given_up.name,
    )
    return 0


def _drop(settings: Settings, database: Database, run_id: int) -> None:
    """Drop retired collections, or leave them to a process that can open the others."""
    try:
        _see_through(settings, database, run_id)
    except ReindexRefused:
        raise
    except StartError as error:
        log.warning("写过的集合由下一个启动的服务删除；这里打不开其余的：%s", error)
    else:
        log.info("写过的集合已删除")


def _see_through(settings: Settings, database: Database, run_id: int) -> None:
    """Follow the run to its end, carried out by the service where one runs, else here.

    Raises:
        ReindexRefused: the run fails.
    """
    bar: tqdm[Any]
    with tqdm(unit="件", desc="处理", disable=None) as bar:

        def is_unfinished() -> bool:
            run = database.read(queue.get_run, run_id)
            bar.total = run.progress.get("total")
            bar.update(run.progress.get("queued", 0) - bar.n)
            return run.state in UNFINISHED

        while is_unfinished():
            try:
                with open_resources(settings, "manage reindex") as resources:
                    resources.run_executor.start(RunKind.reindex)  # others' files may not be here
                    wait_while(is_unfinished, None)
            except VectorFileBusy as busy:
                log.info("服务正在运行（%s）：由它来做", busy.holder)
                wait_while(is_unfinished, FileLock(settings.milvus_path))
    run = database.read(queue.get_run, run_id)
    if run.state != RunState.done:
        raise ReindexRefused(run.error or "已被取消")
