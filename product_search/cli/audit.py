"""`manage audit`: which products have an image and a title that disagree?"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys

from data_models import AuditPage, AuditQuery
from orm_models import Database
from product_search.bootstrap.assemble import open_auditor, open_database
from product_search.cli.follow import ended, pages
from product_search.insights import audit
from product_search.runs.queue import RunKind
from product_search.settings import Settings

log = logging.getLogger(__name__)

NAME = "audit"
SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = "退出码：0 没有图文不符的，1 有，2 未能查完"
    parser.add_argument("--json", action="store_true", help="在标准输出上给出 JSON，每行一个商品")
    parser.add_argument(
        "--limit", type=_count, default=SHOWN, metavar="N", help=f"列出几个（默认 {SHOWN}）"
    )


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("应为 0 或正整数")
    return int(text)


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Compare here, or, where a service holds the Milvus file, have it compare and follow it."""
    if ended(settings, open_auditor(settings), RunKind.audit, {}) is None:
        return 2
    with open_database(settings) as database:
        return _report(database, options.limit, as_json=options.json)


def _report(database: Database, limit: int, *, as_json: bool) -> int:
    def page(after: int) -> AuditPage:
        query = AuditQuery(limit=100, after=after)
        return database.read(audit.page, query)

    items = (item for one in pages(page) for item in one.items)
    for item in itertools.islice(items, limit):
        if as_json:
            sys.stdout.write(item.model_dump_json() + "\n")
        else:
            label = f" {item.label}" if item.label else ""
            log.info("%d %s（%.3f%s）", item.product_id, item.title, item.score, label)
    last = page(0).last
    assert last is not None  # the one that has just ended
    if last.mismatched is None:
        log.info("比较了 %d 件商品的图文；在用的编码器没有校准，给不出结论", last.checked)
    else:
        log.info("比较了 %d 件商品的图文，不符的有 %d 件", last.checked, last.mismatched)
    if last.skipped:
        log.info("另有 %d 件有图片而尚未索引", last.skipped)
    return 1 if last.mismatched else 0
