"""`manage migrate` and `manage retry`: upkeep of the relational store."""

from __future__ import annotations

import logging
from contextlib import closing

from product_search.bootstrap.assemble import open_catalog
from product_search.bootstrap.migrate import current_revision, migrate
from product_search.bootstrap.stores import (
    connect_database,
    naming_the_setting,
    open_database,
)
from product_search.settings import Settings

log = logging.getLogger(__name__)


def migrate_tables(settings: Settings) -> int:
    """Migrate, and say from where to where."""
    with closing(connect_database(settings)) as database, naming_the_setting(database):
        before = current_revision(database)
        migrate(database)
        log.info("数据库的表结构：%s → %s", before or "空", current_revision(database))
    return 0


def retry(settings: Settings, product_id: int | None) -> int:
    """Enqueue the product, or all whose indexing was given up."""
    with open_database(settings) as database:
        queued = open_catalog(settings, database).retry(product_id)
    log.info("已重新排队 %d 件商品", queued)
    return 0
