"""Imports over HTTP: uploaded files, kept until their runs have ended, and what became of them."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import BadImportRow, ImportCounts, ImportStatus
from orm_models import Database, Run
from product_search.bulk.sources import Source, kind_of, open_source
from product_search.errors import (
    DatabaseUnavailable,
    ImportFileError,
    ImportNotFound,
    or_storage_unavailable,
)
from product_search.runs import queue as runs
from product_search.runs.executor import RunFailed
from product_search.runs.queue import RunKind

KINDS = (RunKind.import_, RunKind.local_import)


@dataclass
class Upload:
    """A file that is coming in; it is removed unless a run was queued for it."""

    path: Path
    stream: IO[bytes]
    is_queued: bool = False

    def close(self) -> None:
        """Let go of the file."""
        if not self.is_queued:
            self.path.unlink(missing_ok=True)
        self.stream.close()


class Imports:
    """Keeps uploads in `folder`, of up to `max_bytes` each, and queues runs for them."""

    def __init__(self, database: Database, folder: Path, max_bytes: int) -> None:
        self._database = database
        self._folder = folder
        self.max_bytes = max_bytes

    def new_upload(self) -> Upload:
        """An empty file to write to. Raises StorageUnavailable."""
        with saving():
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / secrets.token_hex(16)
            stream = path.open("xb", buffering=1 << 20)
            # Held until its run is queued, or this process ends: `clean` leaves it alone.
            fcntl.flock(stream, fcntl.LOCK_EX)
        return Upload(path, stream)

    def queue(self, upload: Upload, name: str) -> int:
        """Check the file, sync it to disk, and queue its import: the import's id.

        Raises ImportFileError, StorageUnavailable, DatabaseUnavailable, OutcomeUnknown.
        """
        kind = kind_of(name)
        with saving():
            upload.stream.flush()
        with open_source(upload.path, kind, name=name, max_unpacked=self.max_bytes) as source:
            source.check_header()
        with saving():
            os.fsync(upload.stream.fileno())
            _sync_folder(self._folder)
        options = {"upload": upload.path.name, "kind": kind, "file": name}
        upload.is_queued = True  # perhaps, where the outcome is unknown: `clean` finds it out
        try:
            return self._database.write(
                lambda session: runs.enqueue(session, RunKind.import_, options).id
            )
        except DatabaseUnavailable:
            upload.is_queued = False
            raise

    @contextmanager
    def source(self, options: Mapping[str, Any]) -> Iterator[Source]:
        """The file of a run. Raises RunFailed where it is gone, or can't be read any more."""
        path = self._folder / options["upload"]
        if not path.exists():
            raise RunFailed("上传的文件已不在了，请重新上传")
        try:
            with open_source(
                path, options["kind"], name=options["file"], max_unpacked=self.max_bytes
            ) as source:
                yield source
        except ImportFileError as error:
            raise RunFailed(error.message) from error

    def remove(self, options: Mapping[str, Any]) -> None:
        """Forget the file of a run that has ended."""
        (self._folder / options["upload"]).unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove the files that no unfinished run names and nobody is writing; end dead runs."""
        self._database.write(runs.cancel_abandoned, RunKind.local_import)
        with ExitStack() as held:
            left = [path for path in self._files() if _is_left(path, held)]
            # Asked once the files are held: what was queued until then is seen.
            named = self._database.read(_named_uploads)
            for path in left:
                if path.name not in named:
                    path.unlink(missing_ok=True)

    def status(self, import_id: int, after: int, limit: int) -> ImportStatus:
        """How far an import is, and a page of its bad rows. Raises ImportNotFound."""

        def read(session: Session) -> ImportStatus:
            run = session.get(Run, import_id)
            if run is None or run.kind not in KINDS:
                raise ImportNotFound(f"没有编号为 {import_id} 的导入")
            shown, next_after = runs.fetch_problem_page(session, import_id, after, limit)
            return ImportStatus(
                **ImportCounts.model_validate(run.progress).model_dump(),
                import_id=run.id,
                state=run.state,
                file=Path(run.options["file"]).name,
                error=run.error,
                created_at=run.created_at,
                started_at=run.started_at,
                finished_at=run.finished_at,
                bad_rows=[BadImportRow(line=int(r.subject), reason=r.reason) for r in shown],
                next_after=next_after,
            )

        return self._database.read(read)

    def _files(self) -> list[Path]:
        return list(self._folder.iterdir()) if self._folder.is_dir() else []


def _named_uploads(session: Session) -> set[str]:
    unfinished = select(Run).where(Run.kind == RunKind.import_, Run.state.in_(runs.UNFINISHED))
    return {run.options["upload"] for run in session.scalars(unfinished)}


def _is_left(path: Path, held: ExitStack) -> bool:
    """Whether no process holds the file; from then on `held` does."""
    try:
        stream = held.enter_context(path.open("rb"))
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or gone meanwhile
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def saving() -> AbstractContextManager[None]:
    """A disk that can't take an upload is StorageUnavailable."""
    return or_storage_unavailable("上传的文件暂时无法保存，请稍后重试")
