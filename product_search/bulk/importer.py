"""Bulk import: rows validated and upserted by sku in batches, as a run that survives a restart.

Each batch is one transaction: its products, their events, its bad rows, and how far the file is
read. Whoever goes on with a run reads the file again to that place, and counts nothing twice.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from data_models import ImportCounts, ProductCreate
from orm_models import Run
from product_search.bulk.sources import Source, kind_of, open_source
from product_search.bulk.tables import IMAGE_COLUMN, BadRow, Row
from product_search.catalog.products import Catalog
from product_search.catalog.rows import Outcome, upsert_by_sku
from product_search.errors import (
    AppError,
    DatabaseUnavailable,
    ImportFileError,
    InvalidRequest,
    OutboxFull,
    StorageUnavailable,
)
from product_search.runs import queue
from product_search.runs.executor import LEASE, RunContext, RunFailed, execute
from product_search.runs.queue import Problem, RunClaim, RunKind, RunState
from product_search.schemas.validation import invalid_request

log = logging.getLogger(__name__)

BATCH_SIZE = 500
# With images a batch ends sooner, so that its progress is seen and a stop is heard.
BATCH_S = 1.0
MAX_NOTED = 10_000  # bad rows of one run: a file of nothing else must not fill the database
MAX_REASON = 500
PAGE = 1000
_BAD_ROW = "bad_row"
OnProgress = Callable[[ImportCounts], object]


@dataclass(frozen=True)
class Report:
    """What an import did; `bad_rows` holds the first MAX_NOTED of them."""

    counts: ImportCounts
    bad_rows: Sequence[BadRow]


@dataclass(frozen=True)
class _ReadyRow:
    """A validated row: product columns by name, its image kept."""

    line: int
    columns: Mapping[str, Any]


def import_file(catalog: Catalog, path: Path, images: Path, on_progress: OnProgress) -> Report:
    """Import a file of this machine here and now, as a run that no other process takes.

    `images` is the folder that `image_path` is relative to, unless the file is a ZIP.

    Raises:
        ImportFileError: the file can't be read as a whole; the batches before are in.
        DatabaseUnavailable, OutcomeUnknown, StorageUnavailable: the batches before are in.
    """
    options = {"file": str(path)}
    with open_source(path, kind_of(path.name), images=images) as source:
        claimed = catalog.database.write(_claim_own, options)
        context = RunContext(catalog.database, claimed, threading.Event())
        try:
            state = execute(context, lambda ours: import_rows(ours, catalog, source, on_progress))
        except (AppError, KeyboardInterrupt):
            _cancel(catalog, claimed)
            raise
    if state is not RunState.done:
        run = catalog.database.read(lambda session: session.get_one(Run, claimed.id))
        raise ImportFileError(run.error or "导入失败")
    return _report(catalog, claimed.id)


def _claim_own(session: Session, options: Mapping[str, Any]) -> RunClaim:
    """A new run, held by this process; those that died with theirs are cancelled."""
    queue.cancel_abandoned(session, RunKind.local_import)
    run = queue.enqueue(session, RunKind.local_import, options)
    claimed = queue.claim(session, [RunKind.local_import], LEASE, run_id=run.id)
    assert claimed is not None  # nobody else has seen it yet
    return claimed


def _cancel(catalog: Catalog, claimed: RunClaim) -> None:
    try:
        catalog.database.write(queue.cancel, claimed.id)
    except AppError as error:
        log.warning("run %d is cancelled when the next import begins: %s", claimed.id, error)


def _report(catalog: Catalog, run_id: int) -> Report:
    def read(session: Session) -> Report:
        counts = ImportCounts.model_validate(session.get_one(Run, run_id).progress)
        return Report(counts, list(_bad_rows(session, run_id)))

    return catalog.database.read(read)


def _bad_rows(session: Session, run_id: int) -> Iterator[BadRow]:
    last = 0
    while page := queue.fetch_problems(session, run_id, last, PAGE):
        yield from (BadRow(int(one.subject), one.reason) for one in page)
        last = page[-1].id


def import_rows(
    context: RunContext,
    catalog: Catalog,
    source: Source,
    on_progress: OnProgress = lambda _counts: None,
) -> None:
    """Upsert every good row that the run has not done yet; bad rows are noted.

    Raises:
        RunFailed: the file can't be read as a whole.
        Stopping, RunLost, AppError: what was saved before is in.
    """
    try:
        _Import(context, catalog, source, on_progress).run()
    except ImportFileError as error:
        raise RunFailed(error.message) from error


class _Import:
    """One run's way through its file."""

    def __init__(
        self, context: RunContext, catalog: Catalog, source: Source, on_progress: OnProgress
    ) -> None:
        self._context = context
        self._catalog = catalog
        self._source = source
        self._on_progress = on_progress
        self._counts = ImportCounts.model_validate(context.claim.progress)
        self._lines_by_sku: dict[str, int] = {}

    def run(self) -> None:
        """Raises as import_rows, and ImportFileError."""
        if self._counts.rows_total is None:
            total = sum(1 for _ in self._source.rows(self._context.check))
            self._set_total(total)
        rows = self._source.rows(self._context.check)
        self._pass_over(islice(rows, self._counts.rows_done))
        while batch := self._next_batch(rows):
            self._context.check()
            self._wait_for_room(len(batch))
            self._write_whole_or_singly(batch)
            self._catalog.gate.notify()

    def _pass_over(self, rows: Iterable[Row | BadRow]) -> None:
        """Rows that were done before this process took the run: only their skus are wanted."""
        if not self._counts.rows_done:
            return
        run_id = self._context.claim.id
        bad = self._catalog.database.read(
            lambda session: {row.line for row in _bad_rows(session, run_id)}
        )
        all_noted = self._counts.bad <= MAX_NOTED
        for row in rows:
            if isinstance(row, Row) and row.line not in bad and (all_noted or _is_valid(row)):
                self._lines_by_sku[row.values["sku"]] = row.line

    def _next_batch(self, rows: Iterator[Row | BadRow]) -> list[_ReadyRow | BadRow]:
        batch: list[_ReadyRow | BadRow] = []
        ends = time.monotonic() + BATCH_S
        for row in rows:
            batch.append(self._prepare(row))
            if len(batch) == BATCH_SIZE or time.monotonic() > ends:
                break
        return batch

    def _prepare(self, row: Row | BadRow) -> _ReadyRow | BadRow:
        """The row validated and its image kept, or what is wrong with it.

        Raises DatabaseUnavailable, StorageUnavailable, which are no fault of the row's.
        """
        if isinstance(row, BadRow):
            return row
        try:
            columns = _columns(row)
            sku = columns["sku"]
            if sku in self._lines_by_sku:
                raise InvalidRequest(f"sku {sku!r} 与第 {self._lines_by_sku[sku]} 行重复")
            if IMAGE_COLUMN in row.values:
                content = self._read_image(row.values[IMAGE_COLUMN])
                columns |= self._catalog.keep_image(content)
        except (DatabaseUnavailable, StorageUnavailable):
            raise
        except AppError as error:
            return BadRow(row.line, error.message)
        self._lines_by_sku[sku] = row.line
        return _ReadyRow(row.line, columns)

    def _read_image(self, image_path: object) -> bytes | None:
        if image_path is None or image_path == "":
            return None
        if not isinstance(image_path, str) or "\0" in image_path:
            raise InvalidRequest("image_path：应为文件路径")
        return self._source.picture(image_path)

    def _wait_for_room(self, rows: int) -> None:
        """An import has time: it goes on once enough of the index work that waits is done."""
        while True:
            try:
                return self._catalog.gate.admit(rows)
            except OutboxFull as error:
                log.info("%s：导入暂停 %d 秒", error, error.retry_after_s)
                self._context.stopping.wait(error.retry_after_s)
                self._context.check()

    def _write_whole_or_singly(self, batch: Sequence[_ReadyRow | BadRow]) -> None:
        """The batch in one transaction; row by row where a request took one of its skus."""
        try:
            self._write(batch)
        except IntegrityError as error:
            if len(batch) > 1:
                for row in batch:
                    self._write_whole_or_singly([row])
                return
            log.warning("line %d: %s", batch[0].line, error)
            self._write([BadRow(batch[0].line, "sku：与另一个商品冲突，请再试一次")])

    def _write(self, batch: Sequence[_ReadyRow | BadRow]) -> None:
        ready = [row.columns for row in batch if isinstance(row, _ReadyRow)]
        bad = [row for row in batch if isinstance(row, BadRow)]

        def write(session: Session) -> ImportCounts:
            outcomes = upsert_by_sku(session, ready) if ready else []
            counts = _added(self._counts, outcomes, len(bad))
            self._note(session, bad, counts)
            return counts

        self._counts = self._catalog.database.write(write)
        self._on_progress(self._counts)

    def _set_total(self, total: int) -> None:
        counts = self._counts.model_copy(update={"rows_total": total})
        self._catalog.database.write(self._note, [], counts)
        self._counts = counts
        self._on_progress(counts)

    def _note(self, session: Session, bad: Sequence[BadRow], counts: ImportCounts) -> None:
        claimed = self._context.claim
        room = max(0, MAX_NOTED - self._counts.bad)
        problems = [Problem(_BAD_ROW, str(row.line), _shown(row.reason)) for row in bad[:room]]
        queue.add_problems(session, claimed.id, problems)
        queue.save(session, claimed, counts.model_dump(), LEASE)


def _added(counts: ImportCounts, outcomes: Sequence[Outcome], bad: int) -> ImportCounts:
    return ImportCounts(
        rows_total=counts.rows_total,
        rows_done=counts.rows_done + len(outcomes) + bad,
        created=counts.created + outcomes.count("created"),
        updated=counts.updated + outcomes.count("updated"),
        unchanged=counts.unchanged + outcomes.count("unchanged"),
        bad=counts.bad + bad,
    )


def _shown(reason: str) -> str:
    return reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 1]}…"


def _is_valid(row: Row) -> bool:
    try:
        _columns(row)
    except InvalidRequest:
        return False
    return True


def _columns(row: Row) -> dict[str, Any]:
    """The product's columns, but for its image. Raises InvalidRequest."""
    values = {name: value for name, value in row.values.items() if name != IMAGE_COLUMN}
    if "attributes" in values:
        values["attributes"] = _attributes(values["attributes"])
    return _validated(values)


def _attributes(value: object) -> object:
    if value is None:
        return {}
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("attributes：不是有效的 JSON") from error


def _validated(values: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("image_base64", "generation"):
        if name in values:
            raise InvalidRequest(f"{name}：未知字段；导入用 image_path")
    try:
        product = ProductCreate.model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(_reasons(invalid_request(error.errors()))) from error
    if product.sku is None:
        raise InvalidRequest("sku：不能为空，导入凭它认出同一商品")
    return product.model_dump(include=set(values))


def _reasons(error: InvalidRequest) -> str:
    fields = (error.fields or {}).items()
    return "；".join(f"{name}：{reason}" for name, reason in fields) or error.message
