"""Maps of the catalog in two dimensions: computed by runs, kept until the catalog changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

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
from product_search.access.addresses import OPEN, Addresses
from product_search.errors import RunInProgress, VectorStoreUnavailable
from product_search.indexing import collections
from product_search.indexing.collections import Role
from product_search.indexing.stored_vectors import (
    PAGE,
    ActiveVectors,
    open_active_vectors,
    spread_evenly,
)
from product_search.insights.insight import Insight, Result
from product_search.insights.pca import Covariance, Plane
from product_search.runs import exclusive, queue
from product_search.runs.executor import RunContext
from product_search.runs.queue import RunClaim, RunKind, RunState
from vector_db import EntityCollection

MAX_POINTS = 10_000
_DECIMALS = 5
_COLUMNS = (Product.id, Product.milvus_id)


class MapOptions(BaseModel):
    """The options of a run that computes a map."""

    field: MapField


class StoredMap(BaseModel):
    """A map as its run keeps it: points by column."""

    collection: str
    revision: str
    explained_variance: tuple[float, float]
    total: int
    product_ids: list[int]
    x: list[float]
    y: list[float]


class _State(NamedTuple):
    """The last map of a field, the runs for a new one, and the catalog as it is now."""

    run: Run | None  # which computed the last map
    is_under_way: bool
    error: str | None
    collection: str | None
    revision: str


@dataclass(frozen=True)
class Maps:
    """The maps of all vector fields; `on_enqueued` is called when a run for one was enqueued."""

    database: Database
    on_enqueued: Callable[[], None]
    addresses: Addresses = OPEN

    def get(self, field: MapField) -> CatalogMap | MapComputing:
        """Return the last map of the field; enqueue a new map where the catalog has changed.

        Raises:
            DatabaseUnavailable: the relational store is down.
        """
        state = self.database.read(_fetch_state, field)
        run, now = state.run, (state.collection, state.revision)
        stored = None if run is None else StoredMap.model_validate(run.progress)
        is_stale = stored is None or (stored.collection, stored.revision) != now
        if is_stale and not state.is_under_way:
            self._enqueue(field)
        if stored is None or run is None:
            return MapComputing(error=state.error)
        products = self.database.read(_fetch_products, stored.product_ids)
        points = [
            _to_point(product_id, x, y, product, self.addresses)
            for product_id, x, y in zip(stored.product_ids, stored.x, stored.y, strict=True)
            if (product := products.get(product_id)) is not None
        ]
        return _to_model(field, run, stored, points, is_stale=is_stale)

    def _enqueue(self, field: MapField) -> None:
        try:
            exclusive.enqueue(self.database, RunKind.map, _options(field))
        except RunInProgress:  # another field's, or another request was quicker: the next one asks
            return
        self.on_enqueued()


def _options(field: MapField) -> dict[str, str]:
    return MapOptions(field=field).model_dump(mode="json")


def _fetch_state(session: Session, field: MapField) -> _State:
    """Look through the runs, which are few: a finished map replaces the maps before it."""
    columns = select(Run.id, Run.state, Run.options, Run.error).where(Run.kind == RunKind.map)
    rows = session.execute(columns.order_by(Run.id.desc())).all()
    of_field = [row for row in rows if row.options == _options(field)]
    done = [row.id for row in of_field if row.state == RunState.done]
    active = collections.fetch_live(session).get(Role.active)
    return _State(
        run=session.get(Run, done[0]) if done else None,
        is_under_way=any(row.state in queue.UNFINISHED for row in rows),
        error=of_field[0].error if of_field else None,
        collection=active.name if active else None,
        revision=_fetch_revision(session),
    )


def _fetch_revision(session: Session) -> str:
    """Return a text that differs after every change of the products or of their index.

    Ids are never given twice and a product's revision only grows. So where count and highest id
    are the same, no product was added or deleted; where the sum of revisions is the same too, no
    product was changed.
    """
    indexed = func.sum(case((Product.index_status == IndexStatus.indexed, 1), else_=0))
    facts = select(func.count(), func.max(Product.id), func.sum(Product.revision), indexed)
    return "-".join(str(int(number or 0)) for number in session.execute(facts).one())


class _Product(NamedTuple):
    """What a map shows of a product besides its place."""

    category: str | None
    has_image: bool


def _fetch_products(session: Session, product_ids: Sequence[int]) -> dict[int, _Product]:
    """Return each product that still exists."""
    found: dict[int, _Product] = {}
    columns = Product.id, Product.category, Product.image_hash.is_not(None).label("has_image")
    for start in range(0, len(product_ids), PAGE):
        part = Product.id.in_(product_ids[start : start + PAGE])
        rows = session.execute(select(*columns).where(part))
        found |= {row.id: _Product(row.category, row.has_image) for row in rows}
    return found


def _to_point(
    product_id: int, x: float, y: float, product: _Product, addresses: Addresses
) -> MapPoint:
    address = addresses.of(f"/product/{product_id}/image") if product.has_image else None
    return MapPoint(product_id=product_id, x=x, y=y, category=product.category, image_url=address)


def _to_model(
    field: MapField, run: Run, stored: StoredMap, points: Sequence[MapPoint], *, is_stale: bool
) -> CatalogMap:
    assert run.finished_at is not None  # it is done
    return CatalogMap(
        field=field,
        collection=stored.collection,
        computed_at=run.finished_at,
        stale=is_stale,
        explained_variance=stored.explained_variance,
        total=stored.total,
        shown=len(points),
        points=list(points),
    )


class _Key(NamedTuple):
    """A product and its entity."""

    product_id: int
    milvus_id: int


@dataclass(frozen=True)
class MapMaker(Insight):
    """Handler of maps; it reads the vectors twice, a page at a time."""

    max_points: int = MAX_POINTS

    is_awaited: ClassVar[bool] = False

    def analyse(self, context: RunContext) -> Result:
        """Compute the map of the run's vector field."""
        field = MapOptions.model_validate(context.claim.options).field
        # First: what changes meanwhile makes the map stale.
        revision = self.database.read(_fetch_revision)
        active = open_active_vectors(self.database, self.vector_database)
        if active is None:
            raise VectorStoreUnavailable("还没有可以搜索的向量集合")
        return Result(self._compute(active, field, revision, context))

    def drop_older(self, session: Session, claim: RunClaim) -> None:
        """Drop the earlier runs of the same field, each of which holds a map."""
        queue.drop_older_runs(session, claim)

    def _compute(
        self, active: ActiveVectors, field: VectorField, revision: str, context: RunContext
    ) -> StoredMap:
        covariance = Covariance()
        keys: list[_Key] = []
        for rows in self.pages(context, _COLUMNS):
            page = [_Key(row.id, row.milvus_id) for row in rows]
            keys += _add_vectors(covariance, active.entities, field, page)
        plane = covariance.plane()
        sample = [keys[place] for place in spread_evenly(len(keys), self.max_points)]
        points: dict[int, tuple[float, float]] = {}
        for start in range(0, len(sample), self.page_size):
            context.check()
            points |= _project(
                plane, active.entities, field, sample[start : start + self.page_size]
            )
        return StoredMap(
            collection=active.name,
            revision=revision,
            explained_variance=plane.explained,
            total=len(keys),
            product_ids=list(points),
            x=[x for x, _ in points.values()],
            y=[y for _, y in points.values()],
        )


def _add_vectors(
    covariance: Covariance, entities: EntityCollection, field: VectorField, keys: Sequence[_Key]
) -> list[_Key]:
    """Count the entities' vectors in, and return the keys that have a vector."""
    found = entities.vectors(field, [key.milvus_id for key in keys])
    covariance.add(np.array(list(found.values()), np.float32))
    return [key for key in keys if key.milvus_id in found]


def _project(
    plane: Plane, entities: EntityCollection, field: VectorField, keys: Sequence[_Key]
) -> dict[int, tuple[float, float]]:
    """Return the points of the products by product_id, but for products that lost their vector."""
    found = entities.vectors(field, [key.milvus_id for key in keys])
    left = [key for key in keys if key.milvus_id in found]
    places = plane.project(np.array([found[key.milvus_id] for key in left], np.float32))
    rounded = places.round(_DECIMALS).tolist()
    return {key.product_id: (x, y) for key, (x, y) in zip(left, rounded, strict=True)}
