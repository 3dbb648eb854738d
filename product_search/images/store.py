"""The store of images: files as they came, named by their hash, and their thumbnails."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import tempfile
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image

from product_search.errors import ImageNotFound, StorageUnavailable, or_storage_unavailable
from product_search.images.decoding import VERSION, decode_measured
from product_search.images.formats import DECODE_ERRORS, media_type
from product_search.images.processes.messages import Decoded, Region

THUMBNAIL_SIDES = (64, 128, 256, 512, 1024)
_HASH = re.compile(r"[0-9a-f]{64}")
_ASIDE = ".aside"  # ends the name of an image that is about to be deleted
_PARTIAL = "partial-"  # begins the name of a file that is being written
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_MUCH_CPU_S = 0.5  # to decode: an image that takes more is kept as it was seen


@dataclass(frozen=True)
class StoredImage:
    """A file to serve: its bytes, their media type, and a tag that changes with the bytes."""

    content: bytes
    media_type: str
    etag: str


def content_hash(content: bytes) -> str:
    """Return the name of an image's bytes in the store: their SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class ImageStore:
    """A folder of images as they came, each under the hash of its bytes, and their thumbnails."""

    def __init__(self, folder: Path) -> None:
        """Use the folder, which need not exist yet."""
        self._images = folder / "pictures"
        self._thumbnails = folder / "thumbnails"

    def save_upload(self, content: bytes) -> str:
        """Store an uploaded image, synced to disk, and return its hash.

        It is decoded only where it is not stored yet.

        Raises:
            InvalidImage, ImageTooLarge, ImageTooManyPixels, ImageTooComplex, Overloaded: as
                `decode`.
            StorageUnavailable: the file can't be written.
        """
        image_hash = content_hash(content)
        if not self.renew(image_hash):
            seen = decode_measured(content)
            self._write_image(image_hash, content)
            self._keep_costly(image_hash, seen)
        return image_hash

    def save(self, content: bytes) -> str:
        """Store an image that needs no check, synced to disk, and return its hash.

        Raises StorageUnavailable.
        """
        image_hash = content_hash(content)
        self._write_image(image_hash, content)
        return image_hash

    def renew(self, image_hash: str) -> bool:
        """Restart the age of a stored file; False where it is gone or damaged.

        No file that young counts as left over, so a row has time to name it.
        """
        try:
            os.utime(self.path(image_hash))
            self._read(image_hash)
        except (OSError, ImageNotFound):
            return False
        return True

    def reuse(self, image_hash: str) -> bytes:
        """Return a stored image's bytes, the age of its file restarted as by `renew`.

        Raises:
            ImageNotFound: its file is gone or damaged.
            StorageUnavailable: the file was set aside meanwhile and can't be written anew.
        """
        content = self._read(image_hash)
        try:
            os.utime(self.path(image_hash))
        except OSError:
            self._write_image(image_hash, content)
        return content

    def _write_image(self, image_hash: str, content: bytes) -> None:
        _write(self.path(image_hash), content, sync=True)

    def has(self, image_hash: str) -> bool:
        """Tell whether a file has this hash for its name; it is not read.

        Raises StorageUnavailable.
        """
        with _readable():
            return _HASH.fullmatch(image_hash) is not None and self.path(image_hash).is_file()

    def renewed_at(self, prefix: str) -> dict[str, float]:
        """Return the hashes with these first two digits, and when each file was renewed.

        Times are in seconds since 1970. Raises StorageUnavailable.
        """
        with _readable():
            files = [path for path in self._files(prefix) if _HASH.fullmatch(path.name)]
            return {path.name: time for path in files if (time := _modified(path)) is not None}

    def tidy(self, prefix: str, before: float) -> None:
        """Undo what a crash left in this folder: files half written, images set aside.

        Raises StorageUnavailable.
        """
        with _readable():
            for path in self._files(prefix):
                if path.suffix == _ASIDE and _HASH.fullmatch(path.stem):
                    self.put_back(path.stem)
                elif path.name.startswith(_PARTIAL) and _is_older(path, before):
                    path.unlink(missing_ok=True)

    def _files(self, prefix: str) -> list[Path]:
        folder = self._images / prefix
        return list(folder.iterdir()) if folder.is_dir() else []

    def set_aside(self, image_hash: str, before: float) -> bool:
        """Take the image away, to be dropped or put back; False where its age began anew.

        From now on `renew` does not find it; whoever renewed it before has restarted its age.
        """
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
        """Delete an image that was set aside, and its thumbnails. Raises StorageUnavailable."""
        with _readable():
            for thumbnail in self._thumbnails.glob(f"*/{image_hash[:2]}/{image_hash}.webp"):
                thumbnail.unlink(missing_ok=True)
            self._aside(image_hash).unlink(missing_ok=True)

    def _aside(self, image_hash: str) -> Path:
        return self.path(image_hash).with_suffix(_ASIDE)

    def path(self, image_hash: str) -> Path:
        """Return where the image with this hash lies, or would lie."""
        if _HASH.fullmatch(image_hash) is None:
            raise ValueError(f"not a content hash: {image_hash!r}")
        return self._images / image_hash[:2] / image_hash

    def load(self, image_hash: str, region: Region | None = None) -> Image.Image:
        """Decode a stored image, or a region of it; what takes long is decoded once.

        Raises:
            ImageNotFound: its file is gone or damaged.
            RegionOutsideImage: the region is not wholly within the image.
            Overloaded: as `decode`.
        """
        content = self._read(image_hash)
        if region is not None:
            return decode_measured(content, region).image
        if (kept := self._kept(image_hash)) is not None:
            return kept
        seen = decode_measured(content)
        with suppress(StorageUnavailable):  # it is decoded again then
            self._keep_costly(image_hash, seen)
        return seen.image

    def _keep_costly(self, image_hash: str, seen: Decoded) -> None:
        """Write what `load` returns, where it was costly. Raises StorageUnavailable."""
        if seen.cpu_s > _MUCH_CPU_S:
            buffer = io.BytesIO()
            seen.image.save(buffer, "WEBP", lossless=True, quality=0, method=0)
            _write(self._seen_path(image_hash), buffer.getvalue(), sync=False)

    def _kept(self, image_hash: str) -> Image.Image | None:
        """Return the image as it was seen when it was decoded; None where that was not kept."""
        try:
            with Image.open(self._seen_path(image_hash), formats=["WEBP"]) as kept:
                return kept.convert("RGB")
        except DECODE_ERRORS:  # a power cut may leave an empty file: it is not synced
            return None

    def _seen_path(self, image_hash: str) -> Path:
        # Beside the thumbnails, and deleted with them.
        return self._thumbnails / f"seen-{VERSION}" / image_hash[:2] / f"{image_hash}.webp"

    def original(self, image_hash: str) -> StoredImage:
        """Return an image as it came. Raises ImageNotFound where its file is gone or damaged."""
        content = self._read(image_hash)
        return StoredImage(content, media_type(content), image_hash)

    def thumbnail(self, image_hash: str, side: int) -> StoredImage:
        """Return a WebP that fits in side × side pixels, made once where it can be stored.

        Args:
            image_hash: the image.
            side: one of THUMBNAIL_SIDES.

        Raises:
            ImageNotFound: the image's file is gone or damaged.
        """
        if side not in THUMBNAIL_SIDES:
            raise ValueError(f"side is one of {THUMBNAIL_SIDES}, not {side}")
        folder = self._thumbnails / f"{side}-{VERSION}" / image_hash[:2]
        path = folder / f"{image_hash}.webp"
        if path.exists():
            with _readable():
                content = path.read_bytes()
        else:
            content = self._make_thumbnail(image_hash, side)
            with suppress(StorageUnavailable):  # a full disk keeps nobody from seeing it
                _write(path, content, sync=False)
        return StoredImage(content, "image/webp", f"{image_hash}-{side}-{VERSION}")

    def _make_thumbnail(self, image_hash: str, side: int) -> bytes:
        image = self.load(image_hash)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=85)
        return buffer.getvalue()

    def _read(self, image_hash: str) -> bytes:
        try:
            content = self.path(image_hash).read_bytes()
        except OSError as error:
            if error.errno in _NO_DESCRIPTOR:  # the file may be there
                raise StorageUnavailable("图片目录暂时无法使用，请稍后重试") from error
            raise ImageNotFound("图片文件已丢失或无法读取") from error
        if content_hash(content) != image_hash:
            raise ImageNotFound("图片文件已损坏")
        return content


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # what was being written has its own name by now
        return None


def _is_older(path: Path, before: float) -> bool:
    modified = _modified(path)
    return modified is not None and modified < before


def _readable() -> AbstractContextManager[None]:
    return or_storage_unavailable("图片目录暂时无法使用，请稍后重试")


def _write(path: Path, content: bytes, *, sync: bool) -> None:
    """Write a file that appears whole under its name, or not at all.

    Raises StorageUnavailable.
    """
    with or_storage_unavailable("图片暂时无法保存，请稍后重试"):
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
