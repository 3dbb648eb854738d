"""Bulk import: rows read, mapped, and upserted by sku in batches, by a run that survives a restart.

Each batch is one transaction: its products, their events, its bad rows, and how far the file is
read. Whoever goes on with a run reads the file again to that place, and counts nothing twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from data_models import ImportCounts
from orm_models import Run
from product_search.bulk.mapper import ProductRow, RowMapper, is_valid
from product_search.bulk.sources import Source, kind_of, open_source
from product_search.bulk.tables import BadRow, Row
from product_search.catalog.products import Catalog
from product_search.catalog.rows import Outcome, upsert_by_sku
from product_search.errors import AppError, ImportFileError, OutboxFull
from product_search.outbox.events import Priority
from product_search.runs import queue
from product_search.runs.executor import LEASE, RunContext, RunFailed, execute
from product_search.runs.queue import Problem, RunClaim, RunKind, RunState

log = logging.getLogger(__name__)

BATCH_SIZE = 500
# With images a batch ends sooner, so that its progress is seen and a stop is heard.
BATCH_S = 1.0
MAX_BAD_ROWS = 10_000  # kept of one run: a file of nothing else must not fill the database
MAX_REASON = 500
PAGE = 1000
BAD_ROW, WARNING = "bad_row", "warning"  # kinds of problems: left out, or in with a fault
OnProgress = Callable[[ImportCounts], object]


@dataclass(frozen=True)
class Report:
    """What an import did; of bad rows and of warnings it holds the first MAX_BAD_ROWS."""

    counts: ImportCounts
    bad_rows: Sequence[BadRow]
    warnings: Sequence[BadRow]


def _ignore(_counts: ImportCounts) -> None:
    """Ignore progress: the default."""


@dataclass(frozen=True)
class Importer:
    """Handler of imports from one source; `on_progress` is called after each batch."""

    catalog: Catalog
    source: Source
    on_progress: OnProgress = _ignore

    def handle(self, context: RunContext) -> None:
        """Upsert every row that the run has not done yet; save bad rows as problems.

        Raises:
            RunFailed: the file can't be read as a whole.
            RunInterrupted, RunLost, AppError: the batches before are in.
        """
        try:
            _Import(self, context).run()
        except ImportFileError as error:
            raise RunFailed(error.message) from error


def import_file(
    catalog: Catalog, path: Path, images: Path, on_progress: OnProgress = _ignore
) -> Report:
    """Import a file of this machine here and now, as a run that no other process takes.

    Args:
        catalog: where the products go.
        path: the file.
        images: the folder that `image_path` is relative to, unless the file is a ZIP.
        on_progress: called after each batch.

    Raises:
        ImportFileError: the file can't be read as a whole; the batches before are in.
        DatabaseUnavailable, OutcomeUnknown, StorageUnavailable: the batches before are in.
        RunLost: the import was cancelled; the batches before are in.
    """
    options = {"file": str(path)}
    with open_source(path, kind_of(path.name), images=images) as source:
        claim = catalog.database.write(_start_local, options)
        context = RunContext(catalog.database, claim, threading.Event())
        try:
            state = execute(context, Importer(catalog, source, on_progress).handle)
        except (AppError, KeyboardInterrupt):
            _cancel(catalog, claim)
            raise
    if state is not RunState.done:
        raise ImportFileError(catalog.database.read(_fetch_error, claim.id) or "导入失败")
    return catalog.database.read(_fetch_report, claim.id)


def _start_local(session: Session, options: Mapping[str, Any]) -> RunClaim:
    """Start a run that this process holds; cancel the runs whose processes have died."""
    queue.cancel_abandoned(session, RunKind.local_import)
    run = queue.enqueue(session, RunKind.local_import, options)
    claim = queue.claim(session, [RunKind.local_import], LEASE, run_id=run.id)
    assert claim is not None  # nobody else has seen it yet
    return claim


def _cancel(catalog: Catalog, claim: RunClaim) -> None:
    try:
        catalog.database.write(queue.cancel, claim.id)
    except AppError as error:
        log.warning("run %d is cancelled when the next import begins: %s", claim.id, error)


def _fetch_error(session: Session, run_id: int) -> str | None:
    return session.get_one(Run, run_id).error


def _fetch_report(session: Session, run_id: int) -> Report:
    counts = ImportCounts.model_validate(session.get_one(Run, run_id).progress)
    bad, warned = (list(_rows_of(session, run_id, kind)) for kind in (BAD_ROW, WARNING))
    return Report(counts, bad, warned)


def _rows_of(session: Session, run_id: int, kind: str) -> Iterator[BadRow]:
    last = 0
    while page := queue.fetch_problems(session, run_id, last, PAGE):
        for problem in page:
            if problem.kind == kind:
                yield BadRow(int(problem.subject), problem.reason)
        last = page[-1].id


def _fetch_bad_lines(session: Session, run_id: int) -> set[int]:
    return {row.line for row in _rows_of(session, run_id, BAD_ROW)}


class _Import:
    """One run's way through its file: reader, mapper, writer."""

    def __init__(self, importer: Importer, context: RunContext) -> None:
        self._context = context
        self._database = importer.catalog.database
        self._catalog = importer.catalog
        self._source = importer.source
        self._mapper = RowMapper(importer.catalog, importer.source)
        self._on_progress = importer.on_progress
        self._counts = ImportCounts.model_validate(context.claim.progress)

    def run(self) -> None:
        """Import what the run has not done yet. Raises as Importer.handle, and ImportFileError."""
        if self._counts.rows_total is None:
            self._count_rows()
        rows = self._source.rows(self._context.check)
        self._skip(islice(rows, self._counts.rows_done))
        while batch := self._map_batch(rows):
            self._context.check()
            self._wait_for_room(len(batch))
            self._write_whole_or_singly(batch)
            self._catalog.gate.notify()

    def _count_rows(self) -> None:
        total = self._source.count_rows(self._context.check)
        counts = self._counts.model_copy(update={"rows_total": total})
        self._database.write(self._save, [], [], counts)
        self._counts = counts
        self._on_progress(counts)

    def _skip(self, rows: Iterable[Row | BadRow]) -> None:
        """Pass over rows that were done before this process took the run."""
        if not self._counts.rows_done:
            return
        bad = self._database.read(_fetch_bad_lines, self._context.claim.id)
        all_kept = self._counts.bad <= MAX_BAD_ROWS
        for row in rows:
            if isinstance(row, Row) and row.line not in bad and (all_kept or is_valid(row)):
                self._mapper.skip(row)

    def _map_batch(self, rows: Iterator[Row | BadRow]) -> list[ProductRow | BadRow]:
        batch: list[ProductRow | BadRow] = []
        ends = time.monotonic() + BATCH_S
        for row in rows:
            batch.append(self._mapper.map(row))
            if len(batch) == BATCH_SIZE or time.monotonic() > ends:
                break
        return batch

    def _wait_for_room(self, rows: int) -> None:
        """Wait until enough of the index work that waits is done: an import has time."""
        while True:
            try:
                return self._catalog.gate.admit(rows, Priority.background)
            except OutboxFull as error:
                log.info("%s：导入暂停 %d 秒", error, error.retry_after_s)
                self._context.stopping.wait(error.retry_after_s)
                self._context.check()

    def _write_whole_or_singly(self, batch: Sequence[ProductRow | BadRow]) -> None:
        """Write the batch in one transaction; row by row where a request took one of its skus."""
        try:
            self._write(batch)
        except IntegrityError as error:
            if len(batch) > 1:
                for row in batch:
                    self._write_whole_or_singly([row])
                return
            log.warning("line %d: %s", batch[0].line, error)
            self._write([BadRow(batch[0].line, "sku：与另一个商品冲突，请再试一次")])

    def _write(self, batch: Sequence[ProductRow | BadRow]) -> None:
        good = [row for row in batch if isinstance(row, ProductRow)]
        columns = [row.columns for row in good]
        bad = [row for row in batch if isinstance(row, BadRow)]
        warned = [BadRow(row.line, one) for row in good for one in row.warnings]

        def write(session: Session) -> ImportCounts:
            outcomes = upsert_by_sku(session, columns) if columns else []
            counts = _add(self._counts, outcomes, len(bad), len(warned))
            self._save(session, bad, warned, counts)
            return counts

        self._counts = self._database.write(write)
        self._on_progress(self._counts)

    def _save(
        self,
        session: Session,
        bad: Sequence[BadRow],
        warned: Sequence[BadRow],
        counts: ImportCounts,
    ) -> None:
        claim = self._context.claim
        problems = _problems(BAD_ROW, bad, self._counts.bad)
        problems += _problems(WARNING, warned, self._counts.warned)
        queue.add_problems(session, claim.id, problems)
        queue.save(session, claim, counts.model_dump(), LEASE)


def _problems(kind: str, rows: Sequence[BadRow], kept: int) -> list[Problem]:
    """Return problems for as many rows as there is room for beside those that are kept."""
    room = max(0, MAX_BAD_ROWS - kept)
    return [Problem(kind, str(row.line), _shorten(row.reason)) for row in rows[:room]]


def _add(counts: ImportCounts, outcomes: Sequence[Outcome], bad: int, warned: int) -> ImportCounts:
    return ImportCounts(
        rows_total=counts.rows_total,
        rows_done=counts.rows_done + len(outcomes) + bad,
        created=counts.created + outcomes.count("created"),
        updated=counts.updated + outcomes.count("updated"),
        unchanged=counts.unchanged + outcomes.count("unchanged"),
        bad=counts.bad + bad,
        warned=counts.warned + warned,
    )


def _shorten(reason: str) -> str:
    return reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 1]}…"
