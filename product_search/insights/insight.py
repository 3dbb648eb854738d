"""Insights: runs over the whole catalog, whose results stand until the next run has ended."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Row
from sqlalchemy.orm import InstrumentedAttribute, Session

from data_models import InsightRun, PageQuery
from orm_models import Database, Run, RunProblem
from product_search.errors import IN_THE_LOG, StartError, VectorStoreUnavailable
from product_search.indexing.stored_vectors import PAGE, iterate_products
from product_search.runs import exclusive, queue
from product_search.runs.exclusive import ExclusiveKind
from product_search.runs.executor import LEASE, RunContext, RunFailed
from product_search.runs.queue import Problem, RunClaim, RunState
from vector_db import VectorDatabase

log = logging.getLogger(__name__)

RunModel = TypeVar("RunModel", bound=InsightRun)
Columns = Sequence[InstrumentedAttribute[Any]]


@dataclass(frozen=True)
class Result:
    """What an insight has found: what its run keeps as progress, and the problems."""

    progress: BaseModel
    problems: Sequence[Problem] = ()


@dataclass(frozen=True)
class Insight(ABC):
    """Handler of one kind of run; any process that has the stores open can carry it out."""

    database: Database
    vector_database: VectorDatabase
    page_size: int = field(default=PAGE, kw_only=True)  # products that are read at once

    # Whether somebody waits for the run. Then it fails where a store is down, and is asked for
    # again; otherwise it waits until the store is back.
    is_awaited: ClassVar[bool] = True

    def handle(self, context: RunContext) -> None:
        """Carry out a run, as a Handler of runs.executor; a run that was cut off begins anew.

        Raises:
            RunFailed: Milvus can't be reached, or a calibration can't be read.
            VectorStoreUnavailable: Milvus can't be reached, and nobody waits for the run.
        """
        try:
            result = self.analyse(context)
        except (VectorStoreUnavailable, StartError) as error:
            if not self.is_awaited:
                raise
            log.warning("an analysis failed: %s", error)
            is_ours_to_tell = isinstance(error, VectorStoreUnavailable)  # the other names a file
            raise RunFailed(str(error) if is_ours_to_tell else IN_THE_LOG) from error
        self.database.write(_save, context.claim, result)
        # Only then: until the run has ended, the results of the last run are shown.
        context.on_finish(partial(self.database.write, self.drop_older, context.claim))

    @abstractmethod
    def analyse(self, context: RunContext) -> Result:
        """Go over the catalog. Raises what `context.check` raises, and what the stores raise."""

    def drop_older(self, session: Session, claim: RunClaim) -> None:
        """Drop what the run, which has ended, replaces: the problems of the runs before."""
        queue.drop_older_problems(session, claim.kind, claim.id)

    def pages(
        self, context: RunContext, columns: Columns, *conditions: ColumnElement[bool]
    ) -> Iterator[Sequence[Row[Any]]]:
        """Yield these columns of the products that meet the conditions, a page at a time."""
        for rows in iterate_products(self.database, columns, *conditions, size=self.page_size):
            context.check()
            yield rows


def _save(session: Session, claim: RunClaim, result: Result) -> None:
    queue.replace_problems(session, claim.id, result.problems)
    queue.save(session, claim, result.progress.model_dump(), LEASE)


@dataclass(frozen=True)
class ProblemPage(Generic[RunModel]):
    """One page of the problems of the last run that came to its end, and the newest run."""

    last: RunModel | None
    newest: RunModel | None
    problems: Sequence[RunProblem]
    next_after: int | None


def enqueue(database: Database, kind: ExclusiveKind, model: type[RunModel]) -> RunModel:
    """Enqueue a run, and return it as the API shows it.

    Raises:
        RunInProgress: a run of the kind has not ended yet.
    """
    return _to_model(exclusive.enqueue(database, kind, {}), model)


def fetch_problem_page(
    session: Session, kind: ExclusiveKind, model: type[RunModel], query: PageQuery
) -> ProblemPage[RunModel]:
    """Return a page of what the last run of the kind found."""
    last = queue.find_latest(session, kind, RunState.done)
    newest = queue.find_latest(session, kind)
    problems: Sequence[RunProblem] = []
    next_after = None
    if last is not None:
        problems, next_after = queue.fetch_problem_page(session, last.id, query.after, query.limit)
    return ProblemPage(
        last=None if last is None else _to_model(last, model),
        newest=None if newest is None else _to_model(newest, model),
        problems=problems,
        next_after=next_after,
    )


def _to_model(run: Run, model: type[RunModel]) -> RunModel:
    common = {"run_id": run.id, "state": run.state, "error": run.error}
    return model.model_validate({**common, "finished_at": run.finished_at, **run.progress})
