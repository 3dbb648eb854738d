"""What follows where Milvus Lite may have lost what was written: it is looked for, and indexed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import IndexStatus
from orm_models import Product
from product_search.indexing.collections import LiveCollections, OpenCollection, Role, fetch_live
from product_search.milvus.entities import Entity
from product_search.outbox import catalog_events, events

log = logging.getLogger(__name__)

PAGE = 1000  # products that are looked for at once
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class _Indexed(NamedTuple):
    """A product that the database says is indexed, in this revision."""

    product_id: int
    revision: int


class _Lost(NamedTuple):
    """A product that a collection does not have as it should."""

    collection: str
    milvus_id: int
    product_id: int
    is_absent: bool


@dataclass
class Recovery:
    """Looks for what is lost after each incident, and has it indexed anew.

    Only the thread that indexes runs it: nobody else writes to the collections meanwhile.
    """

    collections: LiveCollections
    reopen: Callable[[], None]  # opens the live collections, or creates them anew
    _handled: int = field(default=0, init=False)

    @property
    def is_needed(self) -> bool:
        """Whether there was an incident of which it is not known yet what it has lost."""
        return self.collections.vector_database.incidents != self._handled

    def run_if_needed(self) -> None:
        """Recover where there was an incident; else do nothing.

        Raises:
            DatabaseUnavailable, VectorStoreUnavailable: a store is down; the next call tries again.
        """
        incidents = self.collections.vector_database.find_incidents()
        if incidents == self._handled:
            return
        self.collections.database.write(events.end_pauses)
        self.collections.close_missing()
        self.reopen()
        lost = self._find_lost()
        self._drop_hidden(lost)
        ids = list(dict.fromkeys(one.product_id for one in lost))
        for start in range(0, len(ids), PAGE):
            self.collections.database.write(catalog_events.record_lost, ids[start : start + PAGE])
        if ids:
            log.warning("%d products are indexed anew: Milvus has lost them", len(ids))
        self._handled = incidents

    def _searched(self) -> list[OpenCollection]:
        """Return the open collections of which it is known what they should have."""
        opened = self.collections.open_all(self.collections.database.read(fetch_live))
        return [one for role, one in opened if role is not Role.filling]

    def _find_lost(self) -> list[_Lost]:
        """Return what a collection lacks of the indexed products, or has in another revision."""
        searched, after, lost = self._searched(), -1, list[_Lost]()
        while indexed := self.collections.database.read(_fetch_indexed, after):
            after = max(indexed)
            for one in searched:
                lost += _missing(one, indexed)
        return lost

    def _drop_hidden(self, lost: Sequence[_Lost]) -> None:
        """Drop what may be hidden: Milvus Lite shows nothing that was written after it.

        It deletes only what it shows. What is written over it is shown once the file is read anew.
        """
        hidden = {
            one.name: [of.milvus_id for of in lost if of.is_absent and of.collection == one.name]
            for one in self._searched()
        }
        if not any(hidden.values()):
            return
        for one in self._searched():
            keys = hidden[one.name]
            for start in range(0, len(keys), PAGE):
                one.entities.upsert([_blank(key, one) for key in keys[start : start + PAGE]])
        self.collections.vector_database.reload()
        for one in self._searched():
            one.entities.delete(hidden[one.name])


def _fetch_indexed(session: Session, after: int) -> Mapping[int, _Indexed]:
    """Return the next indexed products by milvus_id."""
    rows = select(Product.milvus_id, Product.id, Product.revision).where(
        Product.milvus_id > after, Product.index_status == IndexStatus.indexed
    )
    page = session.execute(rows.order_by(Product.milvus_id).limit(PAGE))
    return {key: _Indexed(product_id, revision) for key, product_id, revision in page}


def _missing(of: OpenCollection, indexed: Mapping[int, _Indexed]) -> list[_Lost]:
    """Return those of the products that the collection does not have in their revision."""
    revisions = {one.milvus_id: one.revision for one in of.entities.states(list(indexed))}
    return [
        _Lost(of.name, key, one.product_id, is_absent=key not in revisions)
        for key, one in indexed.items()
        if revisions.get(key) != one.revision
    ]


def _blank(milvus_id: int, of: OpenCollection) -> Entity:
    """Return an entity that says nothing, to be deleted."""
    encoders = of.encoders
    return Entity(
        milvus_id=milvus_id,
        product_id=0,
        revision=0,
        title="",
        search_text="",
        category=None,
        brand=None,
        price=None,
        attributes={},
        created_at=_LONG_AGO,
        image_path=None,
        image_clip_vector=None,
        text_clip_vector=np.zeros(encoders.image_text.dim, np.float32),
        text_bge_vector=np.zeros(encoders.text.dim, np.float32),
    )
