"""What the doors of the evaluations share: arguments, and how an error is told."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from product_search.errors import AppError, StartError

log = logging.getLogger(__name__)


def run(
    door: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    work: Callable[[argparse.Namespace], int],
) -> int:
    """The exit status that the work gives; 2 where it can't be done, with the reason."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    parser = argparse.ArgumentParser(prog=f"python -m product_search.{door}")
    add_arguments(parser)
    options = parser.parse_args()
    try:
        return work(options)
    except (AppError, StartError) as error:
        log.error("%s", error)
        return 2


def add_photo_sets(parser: argparse.ArgumentParser) -> None:
    """What planted.listing_sets takes."""
    parser.add_argument("--photos", type=Path, help="照片集所在的文件夹（各有 labels.csv）")


def add_images(parser: argparse.ArgumentParser) -> None:
    """A set of judged images, as asked.pictures takes it."""
    parser.add_argument("--pictures", type=Path, help="文件夹：queries.tsv（图片名）、qrels.txt")
    parser.add_argument("--photos", type=Path, default=Path(), help="shared/… 的图片所在的文件夹")
