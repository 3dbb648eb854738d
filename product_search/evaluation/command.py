"""What the evaluation's commands share: arguments, and how an error ends them."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from product_search.errors import AppError, StartError

log = logging.getLogger(__name__)


def run(
    module: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    work: Callable[[argparse.Namespace], int],
) -> int:
    """Parse the arguments and do the work of the command `python -m product_search.<module>`.

    Returns:
        The exit status that the work returns; 2 where it fails, after the reason is logged.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    parser = argparse.ArgumentParser(prog=f"python -m product_search.{module}")
    add_arguments(parser)
    options = parser.parse_args()
    try:
        return work(options)
    except (AppError, StartError) as error:
        log.error("%s", error)
        return 2


def add_photo_sets(parser: argparse.ArgumentParser) -> None:
    """Add the folder that `listings.listing_sets` reads."""
    parser.add_argument("--photos", type=Path, help="照片集所在的文件夹（各有 labels.csv）")


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add the two folders that `queries.read_image_queries` reads."""
    parser.add_argument("--pictures", type=Path, help="文件夹：queries.tsv（图片名）、qrels.txt")
    parser.add_argument("--photos", type=Path, default=Path(), help="shared/… 的图片所在的文件夹")
