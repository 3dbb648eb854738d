"""Picture files that no product and no generation names: found, and deleted where that is sure."""

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


class Folders(NamedTuple):
    """What was looked at: how many images, those that are nobody's, and which were deleted."""

    pictures: int
    orphans: list[str]
    deleted: set[str]


def check_folders(database: Database, images: ImageStore, digit: str, *, repair: bool) -> Folders:
    """The images whose hashes begin with the digit; `repair` deletes the orphans.

    All are counted; only those that are older than GRACE can be orphans.
    Raises StorageUnavailable, DatabaseUnavailable.
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
    return Folders(pictures, orphans, deleted)


def _orphans(
    database: Database,
    images: ImageStore,
    prefix: str,
    kept: Mapping[str, float],
    before: float,
) -> list[str]:
    older = [name for name, kept_at in kept.items() if kept_at < before]
    orphans = set(older) - _named(database, older)
    if not orphans:
        return []
    # Those that a write has found to be kept already, and is about to name, are no longer old.
    again = images.renewed_at(prefix)
    return sorted(name for name in orphans if name in again and again[name] < before)


def _delete(
    database: Database, images: ImageStore, orphans: Sequence[str], before: float
) -> set[str]:
    """Those that were deleted.

    None where no product at all has an image: then, more likely, this is the wrong database.
    """
    if not orphans or not database.read(_any_image):
        return set()
    aside = {name for name in orphans if images.set_aside(name, before)}
    named = _named(database, aside)
    for name in aside:
        if name in named:
            images.put_back(name)
        else:
            images.drop_aside(name)
    return aside - named


def _named(database: Database, hashes: Iterable[str]) -> set[str]:
    """Those that a product or a generation names; they have two digits in common."""
    there = sorted(hashes)
    if not there:
        return set()
    named = select(Product.image_hash).where(Product.image_hash.between(there[0], there[-1]))

    def read(session: Session) -> set[str]:
        found = {name for name in session.scalars(named.distinct()) if name}
        rest = set(there) - found
        return found | find_used_hashes(session, rest) if rest else found

    return database.read(read)


def _any_image(session: Session) -> bool:
    some = select(Product.id).where(Product.image_hash.is_not(None)).limit(1)
    return session.scalar(some) is not None
