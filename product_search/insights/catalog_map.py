"""Maps of the catalog in two dimensions: computed as runs, kept until the catalog changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from data_models import (
    CatalogMap,
    IndexStatus,
    MapComputing,
    MapField,
    MapPoint,
    VectorField,
)
from orm_models import Database, Product, Run
from product_search.errors import RunInProgress, VectorStoreUnavailable
from product_search.indexing import collections, stored_vectors
from product_search.indexing.collections import Role
from product_search.indexing.stored_vectors import PAGE, ActiveVectors
from product_search.insights.pca import Plane, Spread
from product_search.runs import exclusive, queue
from product_search.runs.executor import LEASE, RunContext
from product_search.runs.queue import RunKind, RunState
from vector_db import VectorStore

SHOWN = 10_000  # points
_DECIMALS = 5
_COLUMNS = (Product.id, Product.milvus_id)


class Options(BaseModel):
    """What a run is asked for."""

    field: MapField


class Drawn(BaseModel):
    """A map as its run keeps it; points by column."""

    collection: str
    revision: str
    explained_variance: tuple[float, float]
    total: int
    product_ids: list[int]
    x: list[float]
    y: list[float]


class _Known(NamedTuple):
    """What is there of one field, and what the map would be of now."""

    run: Run | None  # that has drawn the last map
    is_under_way: bool
    error: str | None
    collection: str | None
    revision: str


@dataclass(frozen=True)
class Maps:
    """The maps as they are asked for; `on_queued` is told of a run that waits."""

    database: Database
    on_queued: Callable[[], None]

    def get(self, field: MapField) -> CatalogMap | MapComputing:
        """The last map of the field; where there is none of the catalog as it is now, a new one
        is queued.

        Raises:
            DatabaseUnavailable: the relational store is down.
        """
        known = self.database.read(_known, field)
        run, now = known.run, (known.collection, known.revision)
        drawn = None if run is None else Drawn.model_validate(run.progress)
        is_stale = drawn is None or (drawn.collection, drawn.revision) != now
        if is_stale and not known.is_under_way:
            self._queue(field)
        if drawn is None or run is None:
            return MapComputing(error=known.error)
        categories = self.database.read(_categories, drawn.product_ids)
        return _as_map(field, run, drawn, categories, is_stale=is_stale)

    def _queue(self, field: MapField) -> None:
        try:
            exclusive.enqueue(
                self.database, RunKind.map, Options(field=field).model_dump(mode="json")
            )
        except RunInProgress:  # another field's, or somebody else was quicker: whoever asks again
            return
        self.on_queued()


def _known(session: Session, field: MapField) -> _Known:
    """Runs are few: one that has drawn a map takes the place of those before."""
    columns = select(Run.id, Run.state, Run.options, Run.error).where(Run.kind == RunKind.map)
    found = session.execute(columns.order_by(Run.id.desc())).all()
    ours = [row for row in found if row.options == Options(field=field).model_dump(mode="json")]
    drawn = [row.id for row in ours if row.state == RunState.done]
    active = collections.fetch_live(session).get(Role.active)
    return _Known(
        run=session.get(Run, drawn[0]) if drawn else None,
        is_under_way=any(row.state in queue.UNFINISHED for row in found),
        error=ours[0].error if ours else None,
        collection=active.name if active else None,
        revision=_revision(session),
    )


def _revision(session: Session) -> str:
    """Another one after every change of the products or of what is indexed of them.

    Ids are never given twice and a product's revision only grows, so that without the first
    two having changed no product has come or gone, and with the third neither has one changed.
    """
    indexed = func.sum(case((Product.index_status == IndexStatus.indexed, 1), else_=0))
    facts = select(func.count(), func.max(Product.id), func.sum(Product.revision), indexed)
    return "-".join(str(int(one or 0)) for one in session.execute(facts).one())


def _categories(session: Session, product_ids: Sequence[int]) -> dict[int, str | None]:
    """Of the products that are still there."""
    found: dict[int, str | None] = {}
    for start in range(0, len(product_ids), PAGE):
        part = Product.id.in_(product_ids[start : start + PAGE])
        rows = session.execute(select(Product.id, Product.category).where(part))
        found |= {row.id: row.category for row in rows}
    return found


def _as_map(
    field: MapField,
    run: Run,
    drawn: Drawn,
    categories: Mapping[int, str | None],
    *,
    is_stale: bool,
) -> CatalogMap:
    assert run.finished_at is not None  # it is done
    points = [
        MapPoint(product_id=one, x=x, y=y, category=categories[one])
        for one, x, y in zip(drawn.product_ids, drawn.x, drawn.y, strict=True)
        if one in categories
    ]
    return CatalogMap(
        field=field,
        collection=drawn.collection,
        computed_at=run.finished_at,
        stale=is_stale,
        explained_variance=drawn.explained_variance,
        total=drawn.total,
        shown=len(points),
        points=points,
    )


class _Key(NamedTuple):
    """A product and its entity."""

    product_id: int
    milvus_id: int


@dataclass(frozen=True)
class MapMaker:
    """Carries out the runs; twice over the vectors, a page at a time."""

    database: Database
    store: VectorStore
    shown: int = SHOWN
    page: int = PAGE

    def handle(self, context: RunContext) -> None:
        """See Handler in runs.executor; one that is cut off begins anew.

        Raises VectorStoreUnavailable: nobody waits, and the run goes on once Milvus is back.
        """
        field = Options.model_validate(context.claim.options).field
        revision = self.database.read(_revision)  # first: what changes meanwhile makes it stale
        active = stored_vectors.open_active_vectors(self.database, self.store)
        if active is None:
            raise VectorStoreUnavailable("还没有可以搜索的向量集合")
        drawn = self._drawn(active, field, revision, context.check)

        def save(session: Session) -> None:
            queue.save(session, context.claim, drawn.model_dump(), LEASE)

        def drop(session: Session) -> None:
            queue.drop_older_runs(session, context.claim)

        self.database.write(save)
        context.on_finish(lambda: self.database.write(drop))  # till then the last is shown

    def _drawn(
        self, active: ActiveVectors, field: VectorField, revision: str, check: Callable[[], None]
    ) -> Drawn:
        spread = Spread()
        there: list[_Key] = []
        for rows in stored_vectors.iterate_products(self.database, _COLUMNS, size=self.page):
            check()
            keys = [_Key(row.id, row.milvus_id) for row in rows]
            there += _added(spread, active.store, field, keys)
        plane = spread.plane()
        chosen = [there[place] for place in stored_vectors.spread_evenly(len(there), self.shown)]
        placed: dict[int, tuple[float, float]] = {}
        for start in range(0, len(chosen), self.page):
            check()
            placed |= _placed(plane, active.store, field, chosen[start : start + self.page])
        return Drawn(
            collection=active.name,
            revision=revision,
            explained_variance=plane.explained,
            total=len(there),
            product_ids=list(placed),
            x=[x for x, _ in placed.values()],
            y=[y for _, y in placed.values()],
        )


def _added(
    spread: Spread, store: VectorStore, field: VectorField, keys: Sequence[_Key]
) -> list[_Key]:
    """Those that have a vector, which is counted in."""
    found = store.vectors(field, [key.milvus_id for key in keys])
    spread.add(np.array(list(found.values()), np.float32))
    return [key for key in keys if key.milvus_id in found]


def _placed(
    plane: Plane, store: VectorStore, field: VectorField, keys: Sequence[_Key]
) -> dict[int, tuple[float, float]]:
    """Where these products lie, by product_id; without those that have lost their vector."""
    found = store.vectors(field, [key.milvus_id for key in keys])
    there = [key for key in keys if key.milvus_id in found]
    places = plane.project(np.array([found[key.milvus_id] for key in there], np.float32))
    rounded = places.round(_DECIMALS).tolist()
    return {key.product_id: (x, y) for key, (x, y) in zip(there, rounded, strict=True)}
