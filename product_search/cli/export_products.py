"""`manage export`: the whole catalog as a ZIP that `manage import` takes."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from tqdm import tqdm

from product_search.bootstrap.assemble import open_database
from product_search.bulk.exporter import export_catalog
from product_search.errors import StartError
from product_search.images.store import ImageStore
from product_search.settings import Settings

log = logging.getLogger(__name__)

NAME = "export"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = "退出码：0 全部导出，1 有图片已丢失（商品已导出，没有图片），2 未能导出"
    parser.add_argument("file", type=Path, help="要写出的 .zip 文件；已有的会被替换")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Write the file; the service may run and be written to meanwhile."""
    target: Path = options.file
    if target.suffix.lower() != ".zip":
        raise StartError(f"{target.name}：导出文件应以 .zip 结尾")
    with (
        open_database(settings) as database,
        tqdm(unit="件", desc="导出", disable=None) as bar,
    ):
        exported = export_catalog(database, ImageStore(settings.images_dir), target, bar.update)
    for sku in exported.without_picture:
        log.warning("商品 %r 的图片已丢失，未能导出", sku)
    log.info("共导出 %d 件商品，%d 张图片：%s", exported.products, exported.pictures, target)
    return 1 if exported.without_picture else 0
