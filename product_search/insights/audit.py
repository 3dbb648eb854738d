"""Audits: products whose image and title disagree, by the vectors that are stored of them."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel
from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from data_models import (
    AuditItem,
    AuditPage,
    AuditQuery,
    AuditRun,
    IndexStatus,
    MatchPair,
    VectorField,
    Verdict,
)
from orm_models import Database, Product
from product_search.errors import StartError, VectorStoreUnavailable
from product_search.indexing import stored_vectors
from product_search.indexing.stored_vectors import ActiveVectors
from product_search.insights.disagreement import Pairs, standings
from product_search.runs import exclusive
from product_search.runs.executor import RunContext, RunFailed
from product_search.runs.queue import Problem, RunKind
from product_search.search.calibration import Calibration, Curve
from product_search.search.match import judged
from vector_db import VectorStore

KEPT = 1000  # of the products, the worst
SAMPLE = 512  # products whose images and titles the others are held against
_NOTED = "disagreement"
_COLUMNS = (
    Product.id,
    Product.milvus_id,
    Product.title,
    Product.image_hash,
    Product.index_status,
)
_IMAGED = Product.image_hash.is_not(None)
_INDEXED = Product.index_status == IndexStatus.indexed


class Progress(BaseModel):
    """What an audit has come to."""

    checked: int = 0
    skipped: int = 0
    mismatched: int | None = 0


class Noted(BaseModel):
    """A product as it was when its image and its title were compared."""

    product_id: int
    title: str
    image_hash: str
    standing: float
    pair: MatchPair

    @property
    def place(self) -> tuple[float, int]:
        """Where it stands in the order: the worst first, ties by id."""
        return self.standing, self.product_id


def queue(database: Database) -> AuditRun:
    """An audit that waits for the service's loop. Raises RunInProgress where one has not ended."""
    return exclusive.to_model(exclusive.enqueue(database, RunKind.audit, {}), AuditRun)


def page(session: Session, query: AuditQuery) -> AuditPage:
    """What the last audit that came to its end found, without what has changed since."""
    found = exclusive.fetch_page(session, RunKind.audit, AuditRun, query)
    noted = [Noted.model_validate_json(one.reason) for one in found.problems]
    return AuditPage(
        last=found.last,
        newest=found.newest,
        items=_as_they_were(session, noted),
        next_after=found.next_after,
    )


def _as_they_were(session: Session, noted: Sequence[Noted]) -> list[AuditItem]:
    """Of those that still have the title and the image that were compared."""
    ids = [one.product_id for one in noted]
    columns = Product.id, Product.title, Product.image_hash, Product.image_generated
    rows = session.execute(select(*columns).where(Product.id.in_(ids)))
    now = {row.id: row for row in rows}
    return [
        AuditItem(
            product_id=one.product_id,
            title=one.title,
            image_generated=row.image_generated,
            standing=one.standing,
            **one.pair.model_dump(),
        )
        for one in noted
        if (row := now.get(one.product_id)) is not None
        and (row.title, row.image_hash) == (one.title, one.image_hash)
    ]


@dataclass(frozen=True)
class Auditor:
    """Carries out the audits; any process that has the stores open can."""

    database: Database
    store: VectorStore
    calibrated: Callable[[str], Calibration]  # by the fingerprint of encoders
    page: int = stored_vectors.PAGE

    def handle(self, context: RunContext) -> None:
        """See Handler in runs.executor; one that is cut off begins anew.

        Raises:
            RunFailed: Milvus can't be reached, or the calibration can't be read: whoever asked
                is told, and asks again.
        """
        try:
            progress, worst = self._audit(context.check)
        except (VectorStoreUnavailable, StartError) as error:
            raise RunFailed(str(error)) from error
        found = [Problem(_NOTED, str(one.product_id), one.model_dump_json()) for one in worst]
        exclusive.save_result(context, progress, found)

    def _audit(self, check: Callable[[], None]) -> tuple[Progress, list[Noted]]:
        active = stored_vectors.open_active_vectors(self.database, self.store)
        curve = self._curve(active)
        sample = self._sample(active, check)
        progress = Progress(mismatched=None if curve is None else 0)
        worst: list[Noted] = []
        for rows in stored_vectors.iterate_products(
            self.database, _COLUMNS, _IMAGED, size=self.page
        ):
            check()
            ready = [row for row in rows if row.index_status == IndexStatus.indexed]
            pairs = _pairs(active, [row.milvus_id for row in ready])
            found = list(_noted(ready, pairs, sample, curve))
            progress.checked += len(found)
            progress.skipped += len(rows) - len(found)
            if progress.mismatched is not None:
                progress.mismatched += sum(one.pair.verdict is Verdict.mismatch for one in found)
            both = itertools.chain(worst, found)
            worst = heapq.nsmallest(KEPT, both, key=lambda one: one.place)
        return progress, worst

    def _curve(self, active: ActiveVectors | None) -> Curve | None:
        if active is None:
            return None
        return self.calibrated(active.fingerprint).pairs

    def _sample(self, active: ActiveVectors | None, check: Callable[[], None]) -> Pairs:
        """Pictures and titles from all over the catalog; always the same ones of the same."""
        columns = (Product.id, Product.milvus_id)
        keys: list[int] = []
        met = (_IMAGED, _INDEXED)
        for rows in stored_vectors.iterate_products(self.database, columns, *met, size=self.page):
            check()
            keys += [row.milvus_id for row in rows]
        return _pairs(
            active, [keys[place] for place in stored_vectors.spread_evenly(len(keys), SAMPLE)]
        )


def _pairs(active: ActiveVectors | None, keys: Sequence[int]) -> Pairs:
    """Of those of these entities that have both vectors."""
    pictures = active.store.vectors(VectorField.image_clip, keys) if active else {}
    titles = active.store.vectors(VectorField.text_clip, keys) if active else {}
    both = [key for key in keys if key in pictures and key in titles]
    return Pairs(
        np.array(both, np.int64),
        np.array([pictures[key] for key in both], np.float32),
        np.array([titles[key] for key in both], np.float32),
    )


def _noted(
    rows: Sequence[Row[Any]], pairs: Pairs, sample: Pairs, curve: Curve | None
) -> Iterator[Noted]:
    if not len(pairs.keys):
        return
    row_of = {row.milvus_id: row for row in rows}
    found = zip(pairs.keys, pairs.scores, standings(pairs, sample), strict=True)
    for key, score, standing in found:
        row = row_of[int(key)]
        yield Noted(
            product_id=row.id,
            title=row.title,
            image_hash=row.image_hash,
            standing=round(float(standing), 6),
            pair=judged(round(float(score), 6), curve),
        )
