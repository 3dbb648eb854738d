"""Imports of uploaded files, which are stored until their runs have ended."""

from __future__ import annotations

import fcntl
import io
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import BadImportRow, ImportCounts, ImportStatus
from orm_models import Database, Run, RunProblem
from product_search.bulk.importer import BAD_ROW, WARNING, Importer
from product_search.bulk.sources import Source, kind_of, open_source
from product_search.bulk.tables import Bounds
from product_search.catalog.products import Catalog
from product_search.errors import (
    AppError,
    DatabaseUnavailable,
    ImportFileError,
    ImportFinished,
    ImportNotFound,
    QueueFull,
    or_storage_unavailable,
)
from product_search.runs import queue
from product_search.runs.executor import RunContext, RunFailed
from product_search.runs.queue import RunKind, RunState

KINDS = (RunKind.import_, RunKind.local_import)
# Uploads that are kept: coming in, waiting, and the one that is being imported.
MAX_KEPT = 20
_MAX_KEPT_SIZE = 4  # times the largest upload, of all that are kept together


@dataclass
class Upload:
    """A file that is coming in; it is removed unless a run was enqueued for it."""

    path: Path
    stream: IO[bytes]
    is_enqueued: bool = False

    def close(self) -> None:
        """Close the file, and remove it where no run needs it."""
        if not self.is_enqueued:
            with suppress(OSError):  # `clean` finds it
                self.path.unlink()
        # What a full disk did not take is written once more, in vain; a run's file is synced.
        with suppress(OSError, AppError):
            self.stream.close()


class _UploadFile(io.FileIO):
    """A new file; `check` is told how many bytes are to be written, and raises to refuse them."""

    def __init__(self, path: Path, check: Callable[[int], None]) -> None:
        super().__init__(path, "xb")
        self._check = check

    def write(self, content: Any, /) -> int:
        """Write some of the content; return how much."""
        self._check(len(content))
        return super().write(content)


class Imports:
    """The uploaded files, and the runs that import them."""

    def __init__(self, database: Database, folder: Path, max_bytes: int) -> None:
        """Keep uploads of up to `max_bytes` each in `folder`, which need not exist yet."""
        self._database = database
        self._folder = folder
        self.max_bytes = max_bytes
        self._bounds = Bounds(max_bytes)
        self._coming = threading.Lock()
        # To read a file takes a CPU: never more than one for all requests.
        self._checking = threading.Lock()

    def new_upload(self) -> Upload:
        """Open an empty file to write to, whose stream may raise QueueFull where it is written.

        Raises:
            QueueFull: too many uploads are kept.
            StorageUnavailable: the folder can't be written.
        """
        path = self._folder / secrets.token_hex(16)
        with or_upload_unavailable(), self._coming:
            self._folder.mkdir(parents=True, exist_ok=True)
            if len(self._files()) >= MAX_KEPT:
                raise QueueFull(f"排队的导入过多（{MAX_KEPT} 个），请稍后重试")
            stream = io.BufferedWriter(_UploadFile(path, self._check_size), 1 << 20)
            # Held until its run is enqueued, or this process ends: `clean` leaves it alone.
            fcntl.flock(stream, fcntl.LOCK_EX)
        return Upload(path, stream)

    def _check_size(self, more: int) -> None:
        """Raise QueueFull where the files of all uploads would take too much of the disk."""
        limit = _MAX_KEPT_SIZE * self.max_bytes
        if more + sum(map(_size_of, self._files())) > limit:
            raise QueueFull(f"排队的导入过大（共 {limit} 字节），请稍后重试")

    def enqueue(self, upload: Upload, name: str) -> int:
        """Check the file, sync it to disk, and enqueue its import; return the import's id.

        Raises ImportFileError, QueueFull, StorageUnavailable, DatabaseUnavailable, OutcomeUnknown.
        """
        kind = kind_of(name)
        with or_upload_unavailable():
            upload.stream.flush()
        with (
            self._checking,
            open_source(upload.path, kind, name=name, bounds=self._bounds) as source,
        ):
            source.check_header()
        with or_upload_unavailable():
            os.fsync(upload.stream.fileno())
            _sync_folder(self._folder)
        options = {
            "upload": upload.path.name,
            "kind": kind,
            "file": name,
            "encoding": source.encoding,
        }
        upload.is_enqueued = True  # perhaps, where the outcome is unknown: `clean` finds it out
        try:
            return self._database.write(_enqueue, options)
        except DatabaseUnavailable:
            upload.is_enqueued = False
            raise

    @contextmanager
    def open(self, options: Mapping[str, Any]) -> Iterator[Source]:
        """Open the file of a run.

        Raises:
            RunFailed: the file is gone, or can't be read any more.
        """
        path = self._folder / options["upload"]
        if not path.exists():
            raise RunFailed("上传的文件已不在了，请重新上传")
        try:
            with open_source(
                path,
                options["kind"],
                name=options["file"],
                encoding=options.get("encoding"),
                bounds=self._bounds,
            ) as source:
                yield source
        except ImportFileError as error:
            raise RunFailed(error.message) from error

    def cancel(self, import_id: int) -> None:
        """Cancel an import, whichever process is at it; what it has written stays.

        Nothing more is written from then on. To cancel it again does nothing.

        Raises:
            ImportNotFound: there is no such import.
            ImportFinished: it has ended otherwise.
            DatabaseUnavailable, OutcomeUnknown: the database fails.
        """
        options = self._database.write(_cancel, import_id)
        if "upload" in options:
            self.remove(options)

    def remove(self, options: Mapping[str, Any]) -> None:
        """Remove the file of a run that has ended; who has it open can still read it."""
        with suppress(OSError):  # gone already, or `clean` finds it
            (self._folder / options["upload"]).unlink()

    def clean(self) -> None:
        """Remove files that no unfinished run names and nobody is writing; cancel dead runs."""
        self._database.write(queue.cancel_abandoned, RunKind.local_import)
        with ExitStack() as held:
            left = [path for path in self._files() if _is_left(path, held)]
            # Read once the files are held: what was enqueued until then is seen.
            named = self._database.read(_named_uploads)
            for path in left:
                if path.name not in named:
                    path.unlink(missing_ok=True)

    def status(self, import_id: int, after: int, limit: int) -> ImportStatus:
        """Return how far an import is, and a page of its bad rows. Raises ImportNotFound."""
        return self._database.read(_fetch_status, import_id, after, limit)

    def _files(self) -> list[Path]:
        return list(self._folder.iterdir()) if self._folder.is_dir() else []


@dataclass(frozen=True)
class UploadImporter:
    """Handler of imports of uploaded files."""

    imports: Imports
    catalog: Catalog

    def handle(self, context: RunContext) -> None:
        """Import the file of the run; remove it once the run has ended.

        Raises as Importer.handle.
        """
        options = context.claim.options
        context.on_finish(partial(self.imports.remove, options))
        with self.imports.open(options) as source:
            Importer(self.catalog, source).handle(context)


def _enqueue(session: Session, options: Mapping[str, Any]) -> int:
    return queue.enqueue(session, RunKind.import_, options).id


def _cancel(session: Session, import_id: int) -> Mapping[str, Any]:
    """Cancel the import; return its run's options."""
    run = _fetch_import(session, import_id)
    if not queue.cancel(session, import_id) and run.state != RunState.cancelled:
        raise ImportFinished(f"编号为 {import_id} 的导入已经结束（{run.state}），不能再取消")
    return run.options


def _fetch_import(session: Session, import_id: int) -> Run:
    run = session.get(Run, import_id)
    if run is None or run.kind not in KINDS:
        raise ImportNotFound(f"没有编号为 {import_id} 的导入")
    return run


def _fetch_status(session: Session, import_id: int, after: int, limit: int) -> ImportStatus:
    run = _fetch_import(session, import_id)
    problems, next_after = queue.fetch_problem_page(session, import_id, after, limit)
    return ImportStatus(
        **ImportCounts.model_validate(run.progress).model_dump(),
        import_id=run.id,
        state=run.state,
        file=Path(run.options["file"]).name,
        error=run.error,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        bad_rows=_rows_of(problems, BAD_ROW),
        warnings=_rows_of(problems, WARNING),
        next_after=next_after,
    )


def _rows_of(problems: Sequence[RunProblem], kind: str) -> list[BadImportRow]:
    found = (one for one in problems if one.kind == kind)
    return [BadImportRow(line=int(one.subject), reason=one.reason) for one in found]


def _named_uploads(session: Session) -> set[str]:
    unfinished = select(Run).where(Run.kind == RunKind.import_, Run.state.in_(queue.UNFINISHED))
    return {run.options["upload"] for run in session.scalars(unfinished)}


def _is_left(path: Path, held: ExitStack) -> bool:
    """Tell whether no process held the file; from then on `held` does."""
    try:
        stream = held.enter_context(path.open("rb"))
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or gone meanwhile
        return False
    return True


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # its import has just ended
        return 0


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def or_upload_unavailable() -> AbstractContextManager[None]:
    """Raise StorageUnavailable where the disk can't take an upload."""
    return or_storage_unavailable("上传的文件暂时无法保存，请稍后重试")
