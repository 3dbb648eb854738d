"""`manage duplicates`: which products are there twice?"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator

from data_models import DuplicateGroup, DuplicatesPage, DuplicatesQuery
from orm_models import Database
from product_search import duplicates
from product_search.command_runs import carried_out, followed
from product_search.resources import open_database, open_duplicate_finder
from product_search.run_loop import LEASE
from product_search.settings import Settings
from vector_db import FileLock, VectorFileBusy

log = logging.getLogger(__name__)

NAME = "duplicates"
SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = "退出码：0 没有重复，1 有重复，2 未能查完"
    parser.add_argument("--json", action="store_true", help="在标准输出上给出 JSON，每行一组")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Search here, or, where a service holds the Milvus file, have it search and follow it."""
    try:
        with open_duplicate_finder(settings) as finder:
            claimed = duplicates.begin(finder.database, LEASE)
            if not carried_out(finder.database, claimed, finder.handle):
                return 2
    except VectorFileBusy as busy:
        log.info("Milvus 文件由另一个进程使用（%s）：由它查重", busy.holder)
        with open_database(settings) as database:
            run_id = duplicates.queue(database).run_id
            if not followed(database, FileLock(settings.milvus_path), run_id):
                return 2
    with open_database(settings) as database:
        return _report(database, as_json=options.json)


def _report(database: Database, *, as_json: bool) -> int:
    found = 0
    for found, group in enumerate(_groups(database), start=1):
        if as_json:
            sys.stdout.write(group.model_dump_json() + "\n")
        elif found <= SHOWN:
            why = "、".join(sorted({pair.why for pair in group.pairs}))
            log.info("%s（%s）", " ".join(map(str, group.product_ids)), why)
    last = _page(database, 0).last
    assert last is not None  # the one that has just ended
    log.info("比较了 %d 件商品，重复的有 %d 组", last.products, found)
    return 1 if found else 0


def _groups(database: Database) -> Iterator[DuplicateGroup]:
    after: int | None = 0
    while after is not None:
        page = _page(database, after)
        yield from page.groups
        after = page.next_after


def _page(database: Database, after: int) -> DuplicatesPage:
    query = DuplicatesQuery(limit=100, after=after)
    return database.read(lambda session: duplicates.page(session, query))
