"""`manage duplicates`: which products are there twice?"""

from __future__ import annotations

import argparse
import logging
import sys

from data_models import DuplicatesPage, DuplicatesQuery
from orm_models import Database
from product_search.bootstrap.assemble import open_database, open_duplicate_finder
from product_search.cli.follow import ended, pages
from product_search.insights import duplicates
from product_search.runs.queue import RunKind
from product_search.settings import Settings

log = logging.getLogger(__name__)

NAME = "duplicates"
SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = "退出码：0 没有重复，1 有重复，2 未能查完"
    parser.add_argument("--json", action="store_true", help="在标准输出上给出 JSON，每行一组")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Search here, or, where a service holds the Milvus file, have it search and follow it."""
    if ended(settings, open_duplicate_finder(settings), RunKind.duplicates, {}) is None:
        return 2
    with open_database(settings) as database:
        return _report(database, as_json=options.json)


def _report(database: Database, *, as_json: bool) -> int:
    def page(after: int) -> DuplicatesPage:
        query = DuplicatesQuery(limit=100, after=after)
        return database.read(duplicates.page, query)

    found = 0
    groups = (group for one in pages(page) for group in one.groups)
    for found, group in enumerate(groups, start=1):
        if as_json:
            sys.stdout.write(group.model_dump_json() + "\n")
        elif found <= SHOWN:
            why = "、".join(sorted({pair.why for pair in group.pairs}))
            log.info("%s（%s）", " ".join(map(str, group.product_ids)), why)
    last = page(0).last
    assert last is not None  # the one that has just ended
    log.info("比较了 %d 件商品，重复的有 %d 组", last.products, found)
    return 1 if found else 0
