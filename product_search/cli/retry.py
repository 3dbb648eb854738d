"""`manage retry`: queue again what was given up."""

from __future__ import annotations

import argparse
import logging

from product_search.bootstrap.assemble import open_catalog, open_database
from product_search.settings import Settings

log = logging.getLogger(__name__)

NAME = "retry"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = "只重新排队；由运行中的服务或 worker 建立索引，没有则在下次启动时"
    parser.add_argument("--product", type=int, metavar="ID", help="只重试这个商品（默认：全部）")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Queue the product, or all whose indexing was given up."""
    with open_database(settings) as database:
        queued = open_catalog(settings, database, lambda: None).retry(options.product)
    log.info("已重新排队 %d 件商品", queued)
    return 0
