"""Audits: products whose image and title disagree, by their stored vectors."""

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
from product_search.access.addresses import Addresses
from product_search.indexing.stored_vectors import (
    ActiveVectors,
    open_active_vectors,
    spread_evenly,
)
from product_search.insights import insight
from product_search.insights.disagreement import ImageTitlePairs, relative_scores
from product_search.insights.insight import Insight, Result
from product_search.runs.executor import RunContext
from product_search.runs.queue import Problem, RunKind
from product_search.search.calibration import Calibration, Curve
from product_search.search.match import judge_pair

MAX_FINDINGS = 1000  # products that are kept, the worst
SAMPLE_SIZE = 512  # products whose images and titles tell what is usual
_PROBLEM_KIND = "disagreement"
_COLUMNS = (
    Product.id,
    Product.milvus_id,
    Product.title,
    Product.image_hash,
    Product.index_status,
)
_HAS_IMAGE = Product.image_hash.is_not(None)
_IS_INDEXED = Product.index_status == IndexStatus.indexed


class AuditProgress(BaseModel):
    """The counts of an audit."""

    checked: int = 0
    skipped: int = 0
    mismatched: int | None = 0


class AuditFinding(BaseModel):
    """A product as it was when its image and its title were compared."""

    product_id: int
    title: str
    image_hash: str
    standing: float
    pair: MatchPair

    @property
    def sort_key(self) -> tuple[float, int]:
        """The order of findings: the worst first, ties by id."""
        return self.standing, self.product_id


def enqueue(database: Database) -> AuditRun:
    """Enqueue an audit. Raises RunInProgress where the last has not ended."""
    return insight.enqueue(database, RunKind.audit, AuditRun)


def fetch_page(session: Session, query: AuditQuery, addresses: Addresses) -> AuditPage:
    """Return a page of what the last audit found, but for products that changed since."""
    page = insight.fetch_problem_page(session, RunKind.audit, AuditRun, query)
    findings = [AuditFinding.model_validate_json(problem.reason) for problem in page.problems]
    return AuditPage(
        last=page.last,
        newest=page.newest,
        items=_unchanged(session, findings, addresses),
        next_after=page.next_after,
    )


def _unchanged(
    session: Session, findings: Sequence[AuditFinding], addresses: Addresses
) -> list[AuditItem]:
    """Keep the findings whose products still have the title and the image that were compared."""
    ids = [finding.product_id for finding in findings]
    columns = Product.id, Product.title, Product.image_hash, Product.image_generated
    rows = {row.id: row for row in session.execute(select(*columns).where(Product.id.in_(ids)))}
    return [
        AuditItem(
            product_id=finding.product_id,
            title=finding.title,
            image_url=addresses.of(f"/product/{finding.product_id}/image"),
            image_generated=row.image_generated,
            standing=finding.standing,
            **finding.pair.model_dump(),
        )
        for finding in findings
        if (row := rows.get(finding.product_id)) is not None
        and (row.title, row.image_hash) == (finding.title, finding.image_hash)
    ]


@dataclass(frozen=True)
class Auditor(Insight):
    """Handler of audits.

    Attributes:
        calibrated: returns the calibration of the encoders with this fingerprint; raises
            StartError where it can't be read.
    """

    calibrated: Callable[[str], Calibration]

    def analyse(self, context: RunContext) -> Result:
        """Compare every indexed product's image with its title, and keep the worst."""
        active = open_active_vectors(self.database, self.vector_database)
        curve = self.calibrated(active.fingerprint).pairs if active else None
        sample = self._sample(active, context)
        progress = AuditProgress(mismatched=None if curve is None else 0)
        worst: list[AuditFinding] = []
        for rows in self.pages(context, _COLUMNS, _HAS_IMAGE):
            indexed = [row for row in rows if row.index_status == IndexStatus.indexed]
            pairs = _load_pairs(active, [row.milvus_id for row in indexed])
            findings = list(_compare(indexed, pairs, sample, curve))
            progress.checked += len(findings)
            progress.skipped += len(rows) - len(findings)
            if progress.mismatched is not None:
                verdicts = [finding.pair.verdict for finding in findings]
                progress.mismatched += verdicts.count(Verdict.mismatch)
            both = itertools.chain(worst, findings)
            worst = heapq.nsmallest(MAX_FINDINGS, both, key=lambda finding: finding.sort_key)
        return Result(progress, [_to_problem(finding) for finding in worst])

    def _sample(self, active: ActiveVectors | None, context: RunContext) -> ImageTitlePairs:
        """Load pairs from all over the catalog, the same of the same catalog every time."""
        columns = (Product.id, Product.milvus_id)
        pages = self.pages(context, columns, _HAS_IMAGE, _IS_INDEXED)
        keys = [row.milvus_id for rows in pages for row in rows]
        return _load_pairs(active, [keys[place] for place in spread_evenly(len(keys), SAMPLE_SIZE)])


def _to_problem(finding: AuditFinding) -> Problem:
    return Problem(_PROBLEM_KIND, str(finding.product_id), finding.model_dump_json())


def _load_pairs(active: ActiveVectors | None, keys: Sequence[int]) -> ImageTitlePairs:
    """Load the vectors of the entities that have both."""
    images = active.entities.vectors(VectorField.image_clip, keys) if active else {}
    titles = active.entities.vectors(VectorField.text_clip, keys) if active else {}
    both = [key for key in keys if key in images and key in titles]
    return ImageTitlePairs(
        np.array(both, np.int64),
        np.array([images[key] for key in both], np.float32),
        np.array([titles[key] for key in both], np.float32),
    )


def _compare(
    rows: Sequence[Row[Any]], pairs: ImageTitlePairs, sample: ImageTitlePairs, curve: Curve | None
) -> Iterator[AuditFinding]:
    if not len(pairs.keys):
        return
    row_of = {row.milvus_id: row for row in rows}
    scored = zip(pairs.keys, pairs.scores, relative_scores(pairs, sample), strict=True)
    for key, score, standing in scored:
        row = row_of[int(key)]
        yield AuditFinding(
            product_id=row.id,
            title=row.title,
            image_hash=row.image_hash,
            standing=round(float(standing), 6),
            pair=judge_pair(round(float(score), 6), curve),
        )
