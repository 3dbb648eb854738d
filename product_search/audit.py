"""Audits: products whose picture and title disagree, by the vectors that are stored of them."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
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
from orm_models import Database, Product, Run, RunProblem
from product_search import runs, sole_runs, stored_vectors
from product_search.calibration import Calibration, Curve
from product_search.errors import StartError, VectorStoreUnavailable
from product_search.matching import judged
from product_search.run_loop import LEASE, RunContext, RunFailed
from product_search.runs import Claimed, Kind, Problem, State
from product_search.standing import Pairs, standings
from product_search.stored_vectors import ActiveVectors
from vector_db import VectorStore

KEPT = 1000  # of the products, the worst
SAMPLE = 512  # products whose pictures and titles the others are held against
_NOTED = "disagreement"
_COLUMNS = (
    Product.id,
    Product.milvus_id,
    Product.title,
    Product.image_hash,
    Product.index_status,
)
_PICTURED = Product.image_hash.is_not(None)
_INDEXED = Product.index_status == IndexStatus.indexed


class Progress(BaseModel):
    """What an audit has come to."""

    checked: int = 0
    skipped: int = 0
    mismatched: int | None = 0


class Noted(BaseModel):
    """A product as it was when its picture and its title were compared."""

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
    return _as_run(sole_runs.queue(database, Kind.audit, {}))


def begin(database: Database, lease: timedelta) -> Claimed:
    """An audit that this process carries out; one that nobody holds is cancelled for it.

    Raises RunInProgress where another process holds one.
    """
    return sole_runs.begin(database, Kind.audit, {}, lease)


def page(session: Session, query: AuditQuery) -> AuditPage:
    """What the last audit that came to its end found, without what has changed since."""
    ended = runs.latest(session, Kind.audit, State.done)
    newest = runs.latest(session, Kind.audit)
    noted: Sequence[RunProblem] = []
    if ended is not None:
        noted = runs.problems(session, ended.id, query.after, query.limit + 1)
    shown = noted[: query.limit]
    return AuditPage(
        last=None if ended is None else _as_run(ended),
        newest=None if newest is None else _as_run(newest),
        items=_as_they_were(session, [Noted.model_validate_json(one.reason) for one in shown]),
        next_after=shown[-1].id if len(noted) > query.limit else None,
    )


def _as_they_were(session: Session, noted: Sequence[Noted]) -> list[AuditItem]:
    """Of those that still have the title and the picture that were compared."""
    ids = [one.product_id for one in noted]
    rows = select(Product.id, Product.title, Product.image_hash).where(Product.id.in_(ids))
    now = {row.id: (row.title, row.image_hash) for row in session.execute(rows)}
    return [
        AuditItem(
            product_id=one.product_id,
            title=one.title,
            standing=one.standing,
            **one.pair.model_dump(),
        )
        for one in noted
        if now.get(one.product_id) == (one.title, one.image_hash)
    ]


def _as_run(run: Run) -> AuditRun:
    values: dict[str, Any] = {"run_id": run.id, "state": run.state, "error": run.error}
    progress = Progress.model_validate(run.progress or {})
    return AuditRun(**values, finished_at=run.finished_at, **progress.model_dump())


@dataclass(frozen=True)
class Auditor:
    """Carries out the audits; any process that has the stores open can."""

    database: Database
    store: VectorStore
    calibrated: Callable[[str], Calibration]  # by the fingerprint of encoders
    page: int = stored_vectors.PAGE

    def handle(self, context: RunContext) -> None:
        """See run_loop.Handler; one that is cut off begins anew.

        Raises:
            RunFailed: Milvus can't be reached, or the calibration can't be read: whoever asked
                is told, and asks again.
        """
        try:
            progress, worst = self._audit(context.check)
        except (VectorStoreUnavailable, StartError) as error:
            raise RunFailed(str(error)) from error
        found = [Problem(_NOTED, str(one.product_id), one.model_dump_json()) for one in worst]

        def save(session: Session) -> None:
            runs.note_all(session, context.claimed.id, found)
            runs.save(session, context.claimed, progress.model_dump(), LEASE)

        def forget(session: Session) -> None:
            runs.forget_problems(session, Kind.audit, context.claimed.id)

        self.database.write(save)
        context.at_end(lambda: self.database.write(forget))  # till then the last is shown

    def _audit(self, check: Callable[[], None]) -> tuple[Progress, list[Noted]]:
        active = stored_vectors.active(self.database, self.store)
        curve = self._curve(active)
        sample = self._sample(active, check)
        progress = Progress(mismatched=None if curve is None else 0)
        worst: list[Noted] = []
        for rows in stored_vectors.pages(self.database, _COLUMNS, _PICTURED, size=self.page):
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
        """Pictures and titles from all over the catalogue; always the same ones of the same."""
        columns = (Product.id, Product.milvus_id)
        keys: list[int] = []
        met = (_PICTURED, _INDEXED)
        for rows in stored_vectors.pages(self.database, columns, *met, size=self.page):
            check()
            keys += [row.milvus_id for row in rows]
        return _pairs(active, [keys[place] for place in stored_vectors.evenly(len(keys), SAMPLE)])


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
