"""Exact duplicates: the same image file, or the same title and brand, however written."""

from __future__ import annotations

import hashlib
import re

from sqlalchemy import ColumnElement, Select, select, union_all
from sqlalchemy.orm import Session

from orm_models import Product
from product_search.text.analysis import plain

MAX_DUPLICATES = 10
_NOT_WORDS = re.compile(r"(?<!\d)[\W_]+|[\W_]+(?!\d)")  # 1.5L is not 15L


def title_key(title: str, brand: str | None) -> str:
    """Return 32 hex digits that do not depend on spaces, signs, case or script."""
    words = [_NOT_WORDS.sub("", plain(text).lower()) for text in (title, brand or "")]
    # A title of signs alone is told apart by its signs.
    words[0] = words[0] or title
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


def find_duplicates(session: Session, key: str, image_hash: str | None) -> list[int]:
    """Return the first MAX_DUPLICATES ids of products with this title_key or this image."""
    # Two short reads of an index; one condition with OR might read the whole table.
    reads = [_first(Product.title_key == key)]
    if image_hash is not None:
        reads.append(_first(Product.image_hash == image_hash))
    return sorted(set(session.scalars(union_all(*reads))))[:MAX_DUPLICATES]


def _first(condition: ColumnElement[bool]) -> Select[int]:
    ids = select(Product.id).where(condition).order_by(Product.id).limit(MAX_DUPLICATES).subquery()
    return select(ids.c.id)
