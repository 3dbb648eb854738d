"""`manage migrate`: bring the relational store's tables to this release's."""

from __future__ import annotations

import argparse
import logging
from contextlib import closing

from product_search.bootstrap.assemble import connect_database
from product_search.bootstrap.migrate import current_revision, migrate
from product_search.settings import Settings

log = logging.getLogger(__name__)

NAME = "migrate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes: nothing."""


def run(settings: Settings, _options: argparse.Namespace) -> int:
    """Migrate, and say from where to where."""
    with closing(connect_database(settings)) as database:
        before = current_revision(database)
        migrate(database)
        log.info("数据库的表结构：%s → %s", before or "空", current_revision(database))
    return 0
