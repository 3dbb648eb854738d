"""`manage import` and `manage export`: product files into the catalog, and the catalog out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from data_models import ImportCounts
from orm_models import Database
from product_search.bootstrap.assemble import open_catalog, open_resources
from product_search.bootstrap.stores import open_database, open_images
from product_search.bulk.exporter import export_catalog
from product_search.bulk.importer import Report, import_file
from product_search.bulk.sources import kind_of, open_source
from product_search.bulk.uploads import Imports
from product_search.catalog.products import Catalog
from product_search.cli.follow import wait_while
from product_search.errors import StartError
from product_search.milvus.milvus_lite import FileLock, VectorFileBusy
from product_search.outbox import counts as outbox_counts
from product_search.runs.queue import RunLost
from product_search.settings import Settings

log = logging.getLogger(__name__)


def import_products(settings: Settings, file: Path, images: Path | None) -> int:
    """Write the rows; index them here where no service runs on this data, else follow it."""
    with open_source(file, kind_of(file.name)) as source:
        source.check_header()  # before anything is opened and loaded
    with _open_catalog(settings) as (catalog, service):
        if service:
            log.info("服务正在运行（%s）：由它建立索引", service)
        with tqdm(unit="行", desc="导入", disable=None) as bar:

            def show(counts: ImportCounts) -> None:
                bar.total = counts.rows_total
                bar.update(counts.rows_done - bar.n)

            try:
                report = import_file(catalog, file, images or file.parent, show)
            except RunLost:
                log.warning("导入已被取消：已写入的批次保留")
                return 2
        _report(report)
        lock = FileLock(settings.milvus_path) if service else None
        if not _wait_for_index(catalog.database, lock):
            log.warning("服务已停止：其余商品会在它下次启动时建立索引")
    return 1 if report.counts.bad else 0


def cancel_import(settings: Settings, import_id: int) -> int:
    """Cancel an import, whichever process is at it."""
    with open_database(settings) as database:
        Imports(database, settings.imports_dir, settings.import_max_bytes).cancel(import_id)
    log.info("导入 %d 已取消：此后不再写入，已写入的保留", import_id)
    return 0


@contextmanager
def _open_catalog(settings: Settings) -> Iterator[tuple[Catalog, str | None]]:
    """Open the catalog; the second is the address of the service that indexes, where one runs."""
    try:
        with open_resources(settings, "manage import") as resources:
            yield resources.catalog, None
    except VectorFileBusy as busy:
        with open_database(settings) as database:
            yield open_catalog(settings, database), busy.holder


def _report(report: Report) -> None:
    for bad in report.bad_rows:
        log.warning("第 %d 行：%s", bad.line, bad.reason)
    counts = report.counts
    if counts.bad > len(report.bad_rows):
        log.warning("其余 %d 个坏行未列出", counts.bad - len(report.bad_rows))
    for warned in report.warnings:
        log.warning("第 %d 行（已导入）：%s", warned.line, warned.reason)
    log.info(
        "共 %d 行：新增 %d，更新 %d，未变 %d，坏行 %d",
        counts.rows_done,
        counts.created,
        counts.updated,
        counts.unchanged,
        counts.bad,
    )


def _wait_for_index(database: Database, service: FileLock | None) -> bool:
    """Show the index work until none is left; False where the service went away before."""
    last = database.read(outbox_counts.find_newest_id)
    total = database.read(outbox_counts.count_pending, last)
    with tqdm(total=total, unit="件", desc="索引", disable=None) as bar:

        def is_pending() -> bool:
            left = database.read(outbox_counts.count_pending, last)
            bar.update(total - left - bar.n)
            return left > 0

        return wait_while(is_pending, service)


def export_products(settings: Settings, target: Path) -> int:
    """Write the ZIP; the service may run and be written to meanwhile."""
    if target.suffix.lower() != ".zip":
        raise StartError(f"{target.name}：导出文件应以 .zip 结尾")
    with (
        open_database(settings) as database,
        tqdm(unit="件", desc="导出", disable=None) as bar,
    ):
        report = export_catalog(database, open_images(settings), target, bar.update)
    for sku in report.without_image:
        log.warning("商品 %r 的图片已丢失，未能导出", sku)
    log.info("共导出 %d 件商品，%d 张图片：%s", report.products, report.images, target)
    return 1 if report.without_image else 0
