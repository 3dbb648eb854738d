"""Duplicates: groups of products that seem to be one, found by runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel
from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.orm import Session

from data_models import (
    DuplicateGroup,
    DuplicatePair,
    DuplicateRun,
    DuplicatesPage,
    DuplicatesQuery,
    VectorField,
)
from orm_models import Database, Product
from product_search.catalog.identity import title_key
from product_search.errors import AppError
from product_search.grouping import group_pairs
from product_search.images.perceptual_hash import Floats, perceptual_hash
from product_search.images.store import ImageStore
from product_search.indexing.stored_vectors import open_active_vectors
from product_search.insights import insight
from product_search.insights.insight import Insight, Result
from product_search.insights.near_pairs import Listing, Pair, Products, find_near_pairs
from product_search.runs.executor import RunContext
from product_search.runs.queue import Problem, RunKind
from vector_db import EntityCollection

MAX_LISTED = 500  # products of one group, and pairs
_PROBLEM_KIND = "duplicates"
_COLUMNS = (
    Product.id,
    Product.milvus_id,
    Product.title,
    Product.brand,
    Product.attributes,
    Product.image_hash,
    Product.image_generated,
    Product.image_phash,
    Product.title_key,
)
# Only where it is not worked out yet, and the product is still as it was read.
_FILL_KEY = (
    update(Product)
    .where(Product.id == bindparam("product"), Product.title_key.is_(None))
    .values(title_key=bindparam("key"))
)
_FILL_HASH = (
    update(Product)
    .where(Product.id == bindparam("product"), Product.image_hash == bindparam("image"))
    .values(image_phash=bindparam("phash"))
)


class DuplicatesProgress(BaseModel):
    """The counts of a search for duplicates."""

    products: int = 0
    groups: int = 0


def enqueue(database: Database) -> DuplicateRun:
    """Enqueue a search. Raises RunInProgress where the last has not ended."""
    return insight.enqueue(database, RunKind.duplicates, DuplicateRun)


def fetch_page(session: Session, query: DuplicatesQuery) -> DuplicatesPage:
    """Return a page of the groups that the last search found, but for products deleted since."""
    page = insight.fetch_problem_page(session, RunKind.duplicates, DuplicateRun, query)
    groups = [DuplicateGroup.model_validate_json(problem.reason) for problem in page.problems]
    return DuplicatesPage(
        last=page.last,
        newest=page.newest,
        groups=_without_deleted(session, groups),
        next_after=page.next_after,
    )


def _without_deleted(session: Session, groups: Sequence[DuplicateGroup]) -> list[DuplicateGroup]:
    ids = {product_id for group in groups for product_id in group.product_ids}
    existing = set(session.scalars(select(Product.id).where(Product.id.in_(ids))))
    left = []
    for group in groups:
        deleted = set(group.product_ids) - existing
        pairs = [pair for pair in group.pairs if deleted.isdisjoint(pair.product_ids)]
        products = [product_id for product_id in group.product_ids if product_id in existing]
        if len(products) > 1:
            size = group.size - len(deleted)
            left.append(DuplicateGroup(product_ids=products, size=size, pairs=pairs))
    return left


@dataclass(frozen=True)
class DuplicateFinder(Insight):
    """Handler of searches for duplicates."""

    images: ImageStore

    def analyse(self, context: RunContext) -> Result:
        """Compare all products with each other, and group those that seem to be one."""
        products = self._load(context)
        groups = _group(products.listings, find_near_pairs(products, context.check))
        progress = DuplicatesProgress(products=len(products.listings), groups=len(groups))
        return Result(progress, [_to_problem(group) for group in groups])

    def _load(self, context: RunContext) -> Products:
        active = open_active_vectors(self.database, self.vector_database)
        entities = active.entities if active else None
        listings: list[Listing] = []
        image_vectors: list[Floats] = []
        text_vectors: list[Floats] = []
        for rows in self.pages(context, _COLUMNS):
            listings += self._listings(rows)
            keys = [row.milvus_id for row in rows]
            image_vectors.append(_load_vectors(entities, VectorField.image_clip, keys))
            text_vectors.append(_load_vectors(entities, VectorField.text_bge, keys))
        return Products(listings, _stack(image_vectors), _stack(text_vectors))

    def _listings(self, rows: Sequence[Row[Any]]) -> list[Listing]:
        """Turn rows into listings; save the keys and hashes that older releases left out."""
        keys = {row.id: row.title_key or title_key(row.title, row.brand) for row in rows}
        hashes = {row.id: row.image_phash or self._perceptual_hash(row.image_hash) for row in rows}
        new_keys = [{"product": row.id, "key": keys[row.id]} for row in rows if not row.title_key]
        new_hashes = [
            {"product": row.id, "image": row.image_hash, "phash": hashes[row.id]}
            for row in rows
            if not row.image_phash and hashes[row.id]
        ]
        if new_keys or new_hashes:
            self.database.write(_fill, new_keys, new_hashes)
        return [
            Listing(
                product_id=row.id,
                title=row.title,
                attributes=row.attributes,
                title_key=keys[row.id],
                # What a model made up is no evidence of the goods: as if there were no image.
                image_hash=None if row.image_generated else row.image_hash,
                perceptual_hash=None if row.image_generated else hashes[row.id],
            )
            for row in rows
        ]

    def _perceptual_hash(self, image_hash: str | None) -> bytes | None:
        """Hash the image; None where it can't be read, which `manage doctor` reports."""
        if image_hash is None:
            return None
        try:
            return perceptual_hash(self.images.load(image_hash))
        except AppError:
            return None


def _fill(
    session: Session, keys: Sequence[Mapping[str, Any]], hashes: Sequence[Mapping[str, Any]]
) -> None:
    if keys:
        session.connection().execute(_FILL_KEY, keys)
    if hashes:
        session.connection().execute(_FILL_HASH, hashes)


def _to_problem(group: DuplicateGroup) -> Problem:
    return Problem(_PROBLEM_KIND, str(group.product_ids[0]), group.model_dump_json())


def _load_vectors(
    entities: EntityCollection | None, field: VectorField, keys: Sequence[int]
) -> Floats:
    """Return (n, dim), zeros for entities without a vector; (n, 1) where no entity has any."""
    found = entities.vectors(field, keys) if entities else {}
    dim = max((len(vector) for vector in found.values()), default=1)
    none = np.zeros(dim, np.float32)
    return np.array([found.get(key, none) for key in keys], np.float32).reshape(len(keys), dim)


def _stack(parts: Sequence[Floats]) -> Floats:
    dim = max((part.shape[1] for part in parts), default=1)
    whole = np.zeros((sum(len(part) for part in parts), dim), np.float32)
    start = 0
    for part in parts:
        whole[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return whole


def _group(listings: Sequence[Listing], pairs: Sequence[Pair]) -> list[DuplicateGroup]:
    groups = group_pairs((pair.first, pair.second) for pair in pairs)
    group_of = {place: number for number, group in enumerate(groups) for place in group}
    by_group = sorted(pairs, key=lambda pair: (group_of[pair.first], -pair.similarity))
    found = []
    for number, own in itertools.groupby(by_group, lambda pair: group_of[pair.first]):
        ids = [listings[place].product_id for place in groups[number]]
        listed = [
            DuplicatePair(
                product_ids=(listings[pair.first].product_id, listings[pair.second].product_id),
                why=pair.why,
                similarity=pair.similarity,
            )
            for pair in itertools.islice(own, MAX_LISTED)
        ]
        found.append(DuplicateGroup(product_ids=ids[:MAX_LISTED], size=len(ids), pairs=listed))
    return found
