"""Images in a folder of this machine, or one that several machines share."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from product_search.errors import ImageNotFound, StorageUnavailable, or_storage_unavailable
from product_search.images.files.names import ASIDE, LOST, NOT_SAVED, UNAVAILABLE, is_hash, place

_PARTIAL = "partial-"  # begins the name of a file that is being written
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


class FolderFiles:
    """Images as files, in folders by the first two digits of their hashes."""

    def __init__(self, folder: Path) -> None:
        """Use the folder, which need not exist yet."""
        self._folder = folder

    def path(self, image_hash: str) -> Path:
        """Return where the image with this hash lies, or would lie."""
        return self._folder / place(image_hash)

    def read(self, image_hash: str) -> bytes:
        """Return what the image's file has. Raises ImageNotFound, StorageUnavailable."""
        try:
            return self.path(image_hash).read_bytes()
        except OSError as error:
            if error.errno in _NO_DESCRIPTOR:  # the file may be there
                raise StorageUnavailable(UNAVAILABLE) from error
            raise ImageNotFound(LOST) from error

    def write(self, image_hash: str, content: bytes) -> None:
        """Write the file, synced to disk. Raises StorageUnavailable."""
        write_whole(self.path(image_hash), content, sync=True)

    def renew(self, image_hash: str) -> bool:
        """Restart the age of a file; False where there is none.

        No file that young counts as left over, so a row has time to name it.
        """
        try:
            os.utime(self.path(image_hash))
        except OSError:
            return False
        return True

    def find_missing(self, image_hashes: Collection[str]) -> set[str]:
        """Return those of the hashes that no file has for its name. Raises StorageUnavailable."""
        with _readable():
            return {one for one in image_hashes if not (is_hash(one) and self.path(one).is_file())}

    def renewed_at(self, prefix: str) -> dict[str, float]:
        """Return the hashes with these first two digits, and when each file was renewed."""
        with _readable():
            files = [path for path in self._files(prefix) if is_hash(path.name)]
            return {path.name: time for path in files if (time := _modified(path)) is not None}

    def tidy(self, prefix: str, before: float) -> None:
        """Undo what a crash left in this folder. Raises StorageUnavailable."""
        with _readable():
            for path in self._files(prefix):
                if path.suffix == ASIDE and is_hash(path.stem):
                    self.put_back(path.stem)
                elif path.name.startswith(_PARTIAL) and _is_older(path, before):
                    path.unlink(missing_ok=True)

    def _files(self, prefix: str) -> list[Path]:
        folder = self._folder / prefix
        return list(folder.iterdir()) if folder.is_dir() else []

    def set_aside(self, image_hash: str, before: float) -> bool:
        """Rename the file, so that `renew` does not find it; False where its age began anew."""
        aside = self._aside(image_hash)
        with _readable():
            self.path(image_hash).rename(aside)
            if _is_older(aside, before):
                return True
            self.put_back(image_hash)
            return False

    def put_back(self, image_hash: str) -> None:
        """Undo set_aside, and restart the image's age. Raises StorageUnavailable."""
        aside = self._aside(image_hash)
        with _readable():
            os.utime(aside)
            aside.rename(self.path(image_hash))

    def drop_aside(self, image_hash: str) -> None:
        """Delete an image that was set aside. Raises StorageUnavailable."""
        with _readable():
            self._aside(image_hash).unlink(missing_ok=True)

    def _aside(self, image_hash: str) -> Path:
        return self.path(image_hash).with_suffix(ASIDE)

    def check(self) -> None:
        """Do nothing: the folder lies in the data folder, which is checked by itself."""


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # what was being written has its own name by now
        return None


def _is_older(path: Path, before: float) -> bool:
    modified = _modified(path)
    return modified is not None and modified < before


def _readable() -> AbstractContextManager[None]:
    return or_storage_unavailable(UNAVAILABLE)


def write_whole(path: Path, content: bytes, *, sync: bool) -> None:
    """Write a file that appears whole under its name, or not at all.

    Raises StorageUnavailable.
    """
    with or_storage_unavailable(NOT_SAVED):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_PARTIAL, delete=False) as stream:
            try:
                _fill(stream, content, path, sync=sync)
            except OSError:
                Path(stream.name).unlink(missing_ok=True)
                raise


def _fill(stream: IO[bytes], content: bytes, path: Path, *, sync: bool) -> None:
    stream.write(content)
    stream.flush()
    if sync:
        os.fsync(stream.fileno())
    Path(stream.name).replace(path)
    if sync:
        _sync_folder(path.parent)
        _sync_folder(path.parent.parent)  # the folder itself may be new


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
