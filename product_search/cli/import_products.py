"""`manage import`: a product file into the catalog, followed until it is indexed."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from data_models import ImportCounts
from orm_models import Database
from product_search.bootstrap.assemble import open_catalog, open_database, open_resources
from product_search.bulk.importer import Report, import_file
from product_search.bulk.sources import kind_of, open_source
from product_search.catalog.products import Catalog
from product_search.outbox import counts as outbox_state
from product_search.settings import Settings
from vector_db import FileLock, VectorFileBusy

log = logging.getLogger(__name__)

NAME = "import"
POLL_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = "退出码：0 全部导入，1 有坏行（其余已导入），2 未能导入"
    parser.add_argument("file", type=Path, help="商品文件（.csv、.jsonl，或连同图片的 .zip）")
    parser.add_argument(
        "--images", type=Path, help="image_path 所在的目录（默认：文件所在目录；.zip 不用它）"
    )


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Write the rows; index them here where no service runs on this data, else follow it."""
    file, images = options.file, options.images or options.file.parent
    with open_source(file, kind_of(file.name)) as source:
        source.check_header()  # before anything is opened and loaded
    with _catalog(settings) as (catalog, service):
        if service:
            log.info("服务正在运行（%s）：由它建立索引", service)
        with tqdm(unit="行", desc="导入", disable=None) as bar:

            def show(counts: ImportCounts) -> None:
                bar.total = counts.rows_total
                bar.update(counts.rows_done - bar.n)

            report = import_file(catalog, file, images, show)
        _report(report)
        followed = _follow(catalog.database, FileLock(settings.milvus_path), service)
    if not followed:
        log.warning("服务已停止：其余商品会在它下次启动时建立索引")
    return 1 if report.counts.bad else 0


@contextmanager
def _catalog(settings: Settings) -> Iterator[tuple[Catalog, str | None]]:
    """The catalog to write to, and what the service that will index it says of itself."""
    try:
        with open_resources(settings, "manage import") as resources:
            yield resources.catalog, None
    except VectorFileBusy as busy:
        with open_database(settings) as database:
            yield open_catalog(settings, database, lambda: None), busy.holder


def _report(report: Report) -> None:
    for bad in report.bad_rows:
        log.warning("第 %d 行：%s", bad.line, bad.reason)
    counts = report.counts
    if counts.bad > len(report.bad_rows):
        log.warning("其余 %d 个坏行未列出", counts.bad - len(report.bad_rows))
    log.info(
        "共 %d 行：新增 %d，更新 %d，未变 %d，坏行 %d",
        counts.rows_done,
        counts.created,
        counts.updated,
        counts.unchanged,
        counts.bad,
    )


def _follow(database: Database, lock: FileLock, service: str | None) -> bool:
    """Show the index work until none is left; False where the service went away before."""
    last = database.read(outbox_state.find_newest_id)
    left = database.read(outbox_state.count_pending, last)
    with tqdm(total=left, unit="件", desc="索引", disable=None) as bar:
        while left:
            if service and lock.holder() is None:
                return False
            time.sleep(POLL_S)
            now = database.read(outbox_state.count_pending, last)
            bar.update(left - now)
            left = now
    return True
