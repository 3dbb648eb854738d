"""Image files that no product and no generation uses: found, and deleted where that is sure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from orm_models import Database, Product
from product_search.images.store import ImageStore
from product_search.runs.generations import find_used_hashes

# An image is kept before its row commits, and an import may wait long between the two.
GRACE = timedelta(days=1)
DIGITS = "0123456789abcdef"


class ImageCheck(NamedTuple):
    """Result of a check of image files: how many there are, the orphans, the deleted ones."""

    pictures: int
    orphans: list[str]
    deleted: set[str]


def check_images(database: Database, images: ImageStore, digit: str, *, repair: bool) -> ImageCheck:
    """Check the images whose hashes begin with the digit; `repair` deletes the orphans.

    All are counted; only images older than GRACE can be orphans.

    Raises:
        StorageUnavailable, DatabaseUnavailable: a store is down.
    """
    before = time.time() - GRACE.total_seconds()
    pictures, orphans, deleted = 0, list[str](), set[str]()
    for prefix in (digit + second for second in DIGITS):
        if repair:
            images.tidy(prefix, before)
        kept = images.renewed_at(prefix)
        found = _orphans(database, images, prefix, kept, before)
        if repair:
            deleted |= _delete(database, images, found, before)
        pictures += len(kept)
        orphans += found
    return ImageCheck(pictures, orphans, deleted)


def _orphans(
    database: Database,
    images: ImageStore,
    prefix: str,
    kept: Mapping[str, float],
    before: float,
) -> list[str]:
    older = [name for name, kept_at in kept.items() if kept_at < before]
    orphans = set(older) - _used(database, older)
    if not orphans:
        return []
    # A write that has found its image to be stored already, and is about to name it, renews it.
    again = images.renewed_at(prefix)
    return sorted(name for name in orphans if name in again and again[name] < before)


def _delete(
    database: Database, images: ImageStore, orphans: Sequence[str], before: float
) -> set[str]:
    """Delete the orphans; return those that were deleted.

    Delete none where no product at all has an image: this is then more likely the wrong database.
    """
    if not orphans or not database.read(_any_image):
        return set()
    aside = {name for name in orphans if images.set_aside(name, before)}
    used = _used(database, aside)
    for name in aside:
        if name in used:
            images.put_back(name)
        else:
            images.drop_aside(name)
    return aside - used


def _used(database: Database, hashes: Iterable[str]) -> set[str]:
    """Return those of the hashes, alike in two digits, that products or generations use."""
    there = sorted(hashes)
    if not there:
        return set()
    in_products = select(Product.image_hash).where(Product.image_hash.between(there[0], there[-1]))

    def read(session: Session) -> set[str]:
        found = {name for name in session.scalars(in_products.distinct()) if name}
        rest = set(there) - found
        return found | find_used_hashes(session, rest) if rest else found

    return database.read(read)


def _any_image(session: Session) -> bool:
    some = select(Product.id).where(Product.image_hash.is_not(None)).limit(1)
    return session.scalar(some) is not None
