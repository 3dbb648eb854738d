"""`manage reindex`: a new encoder without downtime, its rollback and its end."""

from __future__ import annotations

import argparse
import logging
import time
from typing import Any

from tqdm import tqdm

from orm_models import Database, Run
from product_search.bootstrap.assemble import open_database, open_resources
from product_search.bootstrap.encoders import NAMES
from product_search.errors import StartError
from product_search.indexing import collections, reindex
from product_search.indexing.reindex import ReindexRefused
from product_search.runs import queue
from product_search.runs.queue import UNFINISHED, RunKind, RunState
from product_search.settings import Settings
from vector_db import FileLock, VectorFileBusy

log = logging.getLogger(__name__)

NAME = "reindex"
POLL_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = "退出码：0 完成，2 做不了（原因会说明）。中断后再运行即接着做"
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--encoder", choices=NAMES, help="用这个编码器写满一个新集合，然后切换")
    what.add_argument("--status", action="store_true", help="有哪些集合，进行到哪里")
    what.add_argument("--cancel", action="store_true", help="取消正在进行的，删掉写了一部分的集合")
    what.add_argument("--rollback", action="store_true", help="换回上一个集合")
    what.add_argument("--drop-old", action="store_true", help="删掉上一个集合，此后不能换回")
    what.add_argument(
        "--give-up-active",
        action="store_true",
        help="权重已不在时：放弃在用的集合，服务启动时新建并重新索引全部商品，此前搜索不可用",
    )
    parser.add_argument("--rate", type=_positive, metavar="N", help="每秒最多 N 件商品（默认不限）")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("应为正整数")
    return number


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Do what the option says; what needs Milvus is done by whichever process holds it."""
    if options.rate and not options.encoder:
        raise ReindexRefused("--rate 只与 --encoder 一起用")
    with open_database(settings) as database:
        if options.status:
            _show(database)
        elif options.rollback:
            active = database.write(reindex.roll_back)
            log.info("已换回 %s（%s）：运行中的服务一秒内跟上", active.name, active.encoder)
        elif options.give_up_active:
            given_up = database.write(reindex.give_up_active)
            log.info(
                "已放弃 %s：运行中的服务从此不能搜索和索引，（重新）启动一个服务，它会新建集合",
                given_up.name,
            )
        elif options.encoder:
            start = database.write(reindex.start, options.encoder, options.rate)
            _see_through(settings, database, start)
            log.info("已切换到 %s。旧集合保留着：--rollback 换回，--drop-old 删除", options.encoder)
        else:
            end = reindex.cancel if options.cancel else reindex.drop_previous
            drop = database.write(end)
            log.info("已取消" if options.cancel else "已不再使用旧集合")
            _drop(settings, database, drop)
    return 0


def _drop(settings: Settings, database: Database, run_id: int) -> None:
    """See the run through, or leave it to whoever can open the collections that are left."""
    try:
        _see_through(settings, database, run_id)
    except ReindexRefused:
        raise
    except StartError as error:
        log.warning("写过的集合由下一个启动的服务删除；这里打不开其余的：%s", error)
    else:
        log.info("写过的集合已删除")


def _show(database: Database) -> None:
    for role, row in database.read(collections.fetch_live).items():
        log.info("%s：%s（%s），自 %s", role, row.name, row.encoder or "?", row.role_since)
    last = database.read(queue.find_latest, RunKind.reindex)
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


def _see_through(settings: Settings, database: Database, run_id: int) -> None:
    """Follow the run to its end, carried out by the service where one runs, else here.

    Raises ReindexRefused where it fails.
    """
    lock = FileLock(settings.milvus_path)
    bar: tqdm[Any]
    with tqdm(unit="件", desc="处理", disable=None) as bar:
        while _row(database, run_id).state in UNFINISHED:
            try:
                with open_resources(settings, "manage reindex") as resources:
                    resources.run_executor.start(RunKind.reindex)  # others' files may not be here
                    _follow(database, run_id, bar, None)
            except VectorFileBusy as busy:
                log.info("服务正在运行（%s）：由它来做", busy.holder)
                _follow(database, run_id, bar, lock)
    ended = _row(database, run_id)
    if ended.state != RunState.done:
        raise ReindexRefused(ended.error or "已被取消")


def _follow(database: Database, run_id: int, bar: tqdm[Any], lock: FileLock | None) -> None:
    """Show the progress until the run has ended, or the service has that was to do it."""
    while (row := _row(database, run_id)).state in UNFINISHED:
        bar.total = row.progress.get("total")
        bar.update(row.progress.get("queued", 0) - bar.n)
        if lock is not None and lock.holder() is None:
            return
        time.sleep(POLL_S)


def _row(database: Database, run_id: int) -> Run:
    return database.read(lambda session: session.get_one(Run, run_id))
