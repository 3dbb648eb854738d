"""Searches for products that are there twice: runs in the background, and what the last found."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
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
from orm_models import Database, Product, RunProblem
from product_search.catalog.identity import title_key
from product_search.errors import AppError, VectorStoreUnavailable
from product_search.grouping import grouped
from product_search.images.perceptual_hash import Floats, perceptual_hash
from product_search.images.store import ImageStore
from product_search.indexing import stored_vectors
from product_search.insights.near_pairs import Listing, Pair, Shelf, near_pairs
from product_search.runs import exclusive
from product_search.runs.executor import RunContext, RunFailed
from product_search.runs.queue import Problem, RunKind
from vector_db import VectorStore

SHOWN = 500  # products and pairs of one group that are kept
_GROUP = "duplicates"
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
    .where(Product.id == bindparam("product"), Product.image_hash == bindparam("picture"))
    .values(image_phash=bindparam("looks"))
)


class Progress(BaseModel):
    """What a search has come to."""

    products: int = 0
    groups: int = 0


def queue(database: Database) -> DuplicateRun:
    """A search that waits for the service's loop. Raises RunInProgress where one has not ended."""
    return exclusive.to_model(exclusive.enqueue(database, RunKind.duplicates, {}), DuplicateRun)


def page(session: Session, query: DuplicatesQuery) -> DuplicatesPage:
    """Groups of the last search that came to its end; what was deleted since is left out."""
    found = exclusive.fetch_page(session, RunKind.duplicates, DuplicateRun, query)
    return DuplicatesPage(
        last=found.last,
        newest=found.newest,
        groups=_still_there(session, [_group(one) for one in found.problems]),
        next_after=found.next_after,
    )


def _group(noted: RunProblem) -> DuplicateGroup:
    return DuplicateGroup.model_validate_json(noted.reason)


def _still_there(session: Session, groups: Sequence[DuplicateGroup]) -> list[DuplicateGroup]:
    ids = {one for group in groups for one in group.product_ids}
    there = set(session.scalars(select(Product.id).where(Product.id.in_(ids))))
    kept = []
    for group in groups:
        gone = set(group.product_ids) - there
        pairs = [pair for pair in group.pairs if gone.isdisjoint(pair.product_ids)]
        products = [one for one in group.product_ids if one in there]
        if len(products) > 1:
            size = group.size - len(gone)
            kept.append(DuplicateGroup(product_ids=products, size=size, pairs=pairs))
    return kept


@dataclass(frozen=True)
class DuplicateFinder:
    """Carries out the searches; any process that has the stores open can."""

    database: Database
    store: VectorStore
    images: ImageStore
    page: int = stored_vectors.PAGE

    def handle(self, context: RunContext) -> None:
        """See Handler in runs.executor; one that is cut off begins anew.

        Raises:
            RunFailed: Milvus can't be reached: whoever asked is told, and asks again.
        """
        try:
            shelf = self._shelf(context.check)
        except VectorStoreUnavailable as error:
            raise RunFailed(error.message) from error
        groups = _groups(shelf.listings, near_pairs(shelf, context.check))
        progress = Progress(products=len(shelf.listings), groups=len(groups))
        found = [Problem(_GROUP, str(one.product_ids[0]), one.model_dump_json()) for one in groups]
        exclusive.save_result(context, progress, found)

    def _shelf(self, check: Callable[[], None]) -> Shelf:
        active = stored_vectors.open_active_vectors(self.database, self.store)
        view = active.store if active else None
        listings: list[Listing] = []
        pictures: list[Floats] = []
        texts: list[Floats] = []
        for rows in stored_vectors.iterate_products(self.database, _COLUMNS, size=self.page):
            check()
            listings += self._listings(rows)
            keys = [row.milvus_id for row in rows]
            pictures.append(_vectors(view, VectorField.image_clip, keys))
            texts.append(_vectors(view, VectorField.text_bge, keys))
        return Shelf(listings, _stacked(pictures), _stacked(texts))

    def _listings(self, rows: Sequence[Row[Any]]) -> list[Listing]:
        """The rows, with what older releases have not worked out, which is saved too."""
        keys = {row.id: row.title_key or title_key(row.title, row.brand) for row in rows}
        looks = {row.id: row.image_phash or self._look(row.image_hash) for row in rows}
        filled_keys = [
            {"product": row.id, "key": keys[row.id]} for row in rows if not row.title_key
        ]
        filled_looks = [
            {"product": row.id, "picture": row.image_hash, "looks": looks[row.id]}
            for row in rows
            if not row.image_phash and looks[row.id]
        ]

        def fill(session: Session) -> None:
            if filled_keys:
                session.connection().execute(_FILL_KEY, filled_keys)
            if filled_looks:
                session.connection().execute(_FILL_HASH, filled_looks)

        if filled_keys or filled_looks:
            self.database.write(fill)
        return [
            Listing(
                product_id=row.id,
                title=row.title,
                attributes=row.attributes,
                title_key=keys[row.id],
                # What a model made up is no evidence of the goods: as if there were no image.
                image_hash=None if row.image_generated else row.image_hash,
                perceptual_hash=None if row.image_generated else looks[row.id],
            )
            for row in rows
        ]

    def _look(self, image_hash: str | None) -> bytes | None:
        """The image's perceptual hash; None where it can't be read, as the doctor tells."""
        if image_hash is None:
            return None
        try:
            return perceptual_hash(self.images.load(image_hash))
        except AppError:
            return None


def _vectors(view: VectorStore | None, field: VectorField, keys: Sequence[int]) -> Floats:
    """(n, dim), zeros for those that have none; (n, 1) where nobody has any."""
    found = view.vectors(field, keys) if view else {}
    dim = max((len(vector) for vector in found.values()), default=1)
    none = np.zeros(dim, np.float32)
    return np.array([found.get(key, none) for key in keys], np.float32).reshape(len(keys), dim)


def _stacked(parts: Sequence[Floats]) -> Floats:
    dim = max((part.shape[1] for part in parts), default=1)
    whole = np.zeros((sum(len(part) for part in parts), dim), np.float32)
    start = 0
    for part in parts:
        whole[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return whole


def _groups(listings: Sequence[Listing], pairs: Sequence[Pair]) -> list[DuplicateGroup]:
    places = grouped((pair.first, pair.second) for pair in pairs)
    group_of = {place: number for number, group in enumerate(places) for place in group}
    by_group = sorted(pairs, key=lambda pair: (group_of[pair.first], -pair.similarity))
    made = []
    for number, own in itertools.groupby(by_group, lambda pair: group_of[pair.first]):
        ids = [listings[place].product_id for place in places[number]]
        shown = [
            DuplicatePair(
                product_ids=(listings[pair.first].product_id, listings[pair.second].product_id),
                why=pair.why,
                similarity=pair.similarity,
            )
            for pair in itertools.islice(own, SHOWN)
        ]
        made.append(DuplicateGroup(product_ids=ids[:SHOWN], size=len(ids), pairs=shown))
    return made
