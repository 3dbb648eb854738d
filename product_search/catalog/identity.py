"""Exact duplicates: the same image file, or title and brand but for how they are written."""

from __future__ import annotations

import hashlib
import re

from sqlalchemy import ColumnElement, Select, select, union_all
from sqlalchemy.orm import Session

from orm_models import Product
from product_search.text.analysis import plain

SHOWN = 10
_NO_WORDS = re.compile(r"(?<!\d)[\W_]+|[\W_]+(?!\d)")  # 1.5L is not 15L


def title_key(title: str, brand: str | None) -> str:
    """32 hex digits: the same for titles and brands that differ in spaces, signs, case, script."""
    words = [_NO_WORDS.sub("", plain(text).lower()) for text in (title, brand or "")]
    # A title of signs alone is known by its signs.
    words[0] = words[0] or title
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


def same_products(session: Session, key: str, image_hash: str | None) -> list[int]:
    """The first SHOWN ids of products with this title_key or this image."""
    # Two walks of an index, each short; one condition with OR might read the whole table.
    walks = [_first(Product.title_key == key)]
    if image_hash is not None:
        walks.append(_first(Product.image_hash == image_hash))
    return sorted(set(session.scalars(union_all(*walks))))[:SHOWN]


def _first(condition: ColumnElement[bool]) -> Select[int]:
    ids = select(Product.id).where(condition).order_by(Product.id).limit(SHOWN).subquery()
    return select(ids.c.id)
