"""`manage duplicates` and `manage audit`: products that are there twice, or with a wrong image."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

from data_models import AuditPage, AuditQuery, DuplicatesPage, DuplicatesQuery
from orm_models import Database
from product_search.access.addresses import OPEN
from product_search.bootstrap.assemble import open_auditor, open_duplicate_finder
from product_search.bootstrap.stores import open_database
from product_search.cli.follow import run_to_end
from product_search.insights import audit, duplicates
from product_search.runs.queue import RunKind
from product_search.settings import Settings

log = logging.getLogger(__name__)

MAX_GROUPS = 20  # that the log names; --json gives all
PAGE = 100

Page = TypeVar("Page", AuditPage, DuplicatesPage)


def find_duplicates(settings: Settings, *, as_json: bool) -> int:
    """Search here, or, where a service holds the Milvus file, have it search and follow it."""
    if run_to_end(settings, open_duplicate_finder(settings), RunKind.duplicates, {}) is None:
        return 2
    with open_database(settings) as database:
        return _report_duplicates(database, as_json=as_json)


def _report_duplicates(database: Database, *, as_json: bool) -> int:
    def fetch(after: int) -> DuplicatesPage:
        return database.read(duplicates.fetch_page, DuplicatesQuery(limit=PAGE, after=after))

    count = 0
    groups = (group for page in _pages(fetch) for group in page.groups)
    for count, group in enumerate(groups, start=1):
        if as_json:
            sys.stdout.write(group.model_dump_json() + "\n")
        elif count <= MAX_GROUPS:
            why = "、".join(sorted({pair.why for pair in group.pairs}))
            log.info("%s（%s）", " ".join(map(str, group.product_ids)), why)
    last = fetch(0).last
    assert last is not None  # the run that has just ended
    log.info("比较了 %d 件商品，重复的有 %d 组", last.products, count)
    return 1 if count else 0


def audit_images(settings: Settings, limit: int, *, as_json: bool) -> int:
    """Compare here, or, where a service holds the Milvus file, have it compare and follow it."""
    if run_to_end(settings, open_auditor(settings), RunKind.audit, {}) is None:
        return 2
    with open_database(settings) as database:
        return _report_audit(database, limit, as_json=as_json)


def _report_audit(database: Database, limit: int, *, as_json: bool) -> int:
    def fetch(after: int) -> AuditPage:
        return database.read(audit.fetch_page, AuditQuery(limit=PAGE, after=after), OPEN)

    items = (item for page in _pages(fetch) for item in page.items)
    for item in itertools.islice(items, limit):
        if as_json:
            sys.stdout.write(item.model_dump_json() + "\n")
        else:
            label = f" {item.label}" if item.label else ""
            log.info("%d %s（%.3f%s）", item.product_id, item.title, item.score, label)
    last = fetch(0).last
    assert last is not None  # the run that has just ended
    if last.mismatched is None:
        log.info("比较了 %d 件商品的图文；在用的编码器没有校准，给不出结论", last.checked)
    else:
        log.info("比较了 %d 件商品的图文，不符的有 %d 件", last.checked, last.mismatched)
    if last.skipped:
        log.info("另有 %d 件有图片而尚未索引", last.skipped)
    return 1 if last.mismatched else 0


def _pages(fetch: Callable[[int], Page]) -> Iterator[Page]:
    """Fetch every page, from the first on; `fetch` is given the `after` of each."""
    after: int | None = 0
    while after is not None:
        page = fetch(after)
        yield page
        after = page.next_after
