"""Door: `python -m product_search.manage import | retry | migrate | download-models`."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from tqdm import tqdm

from nlp_models import download_model
from orm_models import Database
from product_search import outbox
from product_search.bulk_import import ImportFileError, Report, count_rows, import_file
from product_search.catalog import Catalog
from product_search.errors import AppError, StartError
from product_search.resources import (
    connect_database,
    open_catalog,
    open_database,
    open_resources,
)
from product_search.schema import current_revision, migrate
from product_search.settings import Settings, load_settings
from vector_db import FileLock, VectorFileBusy

log = logging.getLogger(__name__)

POLL_S = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 1 bad rows, 2 a failure that the message explains."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        if options.command == "import":
            return _import(settings, options.file, options.images or options.file.parent)
        if options.command == "retry":
            return _retry(settings, options.product)
        if options.command == "migrate":
            return _migrate(settings)
        return _download_models(settings)
    except AppError as error:  # a store is down: its own words say which and why
        log.error("%s（%s）", error, str(error.__cause__).partition("\n")[0])
        return 2
    except (ImportFileError, StartError) as error:
        log.error("%s", error)
        return 2
    except KeyboardInterrupt:
        log.error("已中断：已写入的批次不会丢失，再次运行即可继续")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m product_search.manage")
    commands = parser.add_subparsers(dest="command", required=True)
    bulk = commands.add_parser(
        "import",
        help="导入 CSV 或 JSONL 商品文件，按 sku 新增或更新",
        description="退出码：0 全部导入，1 有坏行（其余已导入），2 未能导入",
    )
    bulk.add_argument("file", type=Path, help="商品文件（.csv 或 .jsonl）")
    bulk.add_argument("--images", type=Path, help="image_path 所在的目录（默认：文件所在目录）")
    again = commands.add_parser(
        "retry",
        help="重新为索引失败（failed）的商品建立索引",
        description="只重新排队；由运行中的服务或 worker 建立索引，没有则在下次启动时",
    )
    again.add_argument("--product", type=int, metavar="ID", help="只重试这个商品（默认：全部）")
    commands.add_parser("migrate", help="把数据库的表结构升级到本版本所需的")
    commands.add_parser("download-models", help="从 ModelScope 下载 Chinese-CLIP 与 BGE")
    return parser


def _migrate(settings: Settings) -> int:
    with closing(connect_database(settings)) as database:
        before = current_revision(database)
        migrate(database)
        log.info("数据库的表结构：%s → %s", before or "空", current_revision(database))
    return 0


def _download_models(settings: Settings) -> int:
    """Both models; one that is there already in this revision costs only a check."""
    for model, revision, target in (
        (settings.clip_model, settings.clip_revision, settings.downloaded_clip),
        (settings.bge_model, settings.bge_revision, settings.downloaded_bge),
    ):
        log.info("%s（%s）→ %s", model, revision, target)
        download_model(model, revision, target)
    log.info("完成。重启服务后生效")
    return 0


def _retry(settings: Settings, product_id: int | None) -> int:
    with open_database(settings) as database:
        queued = open_catalog(settings, database, lambda: None).retry(product_id)
    log.info("已重新排队 %d 件商品", queued)
    return 0


def _import(settings: Settings, file: Path, images: Path) -> int:
    """Write the rows; index them here where no service runs on this data, else follow it."""
    total = count_rows(file)
    with _catalog(settings) as (catalog, service):
        if service:
            log.info("服务正在运行（%s）：由它建立索引", service)
        with tqdm(total=total, unit="行", desc="导入", disable=None) as bar:
            report = import_file(catalog, file, images, bar.update)
        _report(report)
        followed = _follow(catalog.database, FileLock(settings.milvus_path), service)
    if not followed:
        log.warning("服务已停止：其余商品会在它下次启动时建立索引")
    return 1 if report.bad_rows else 0


@contextmanager
def _catalog(settings: Settings) -> Iterator[tuple[Catalog, str | None]]:
    """The catalogue to write to, and what the service that will index it says of itself."""
    try:
        with open_resources(settings, "manage import") as resources:
            yield resources.catalog, None
    except VectorFileBusy as busy:
        with open_database(settings) as database:
            yield open_catalog(settings, database, lambda: None), busy.holder


def _report(report: Report) -> None:
    for bad in report.bad_rows:
        log.warning("第 %d 行：%s", bad.line, bad.reason)
    log.info(
        "共 %d 行：新增 %d，更新 %d，未变 %d，坏行 %d",
        report.rows,
        report.created,
        report.updated,
        report.unchanged,
        len(report.bad_rows),
    )


def _follow(database: Database, lock: FileLock, service: str | None) -> bool:
    """Show the index work until none is left; False where the service went away before."""
    last = database.read(outbox.newest_id)
    left = database.read(lambda session: outbox.pending(session, last))
    with tqdm(total=left, unit="件", desc="索引", disable=None) as bar:
        while left:
            if service and lock.holder() is None:
                return False
            time.sleep(POLL_S)
            now = database.read(lambda session: outbox.pending(session, last))
            bar.update(left - now)
            left = now
    return True


if __name__ == "__main__":
    sys.exit(main())
