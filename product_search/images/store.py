"""The store of images: as they came, and as they are shown: clean, or as thumbnails."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from product_search.errors import ImageNotFound, StorageUnavailable, or_storage_unavailable
from product_search.images.cleaning import cleaner
from product_search.images.decoding import MAX_DECODED_SIDE, VERSION, decode_measured
from product_search.images.files.folder import FolderFiles, write_whole
from product_search.images.files.names import UNAVAILABLE, ImageFiles
from product_search.images.formats import DECODE_ERRORS, media_type
from product_search.images.processes.messages import Decoded, Region
from product_search.images.provenance import mark, says_generated

THUMBNAIL_SIDES = (64, 128, 256, 512, 1024)
_MUCH_CPU_S = 0.5  # to decode: an image that takes more is kept as it was seen
_THUMBNAIL_QUALITY, _DISPLAY_QUALITY = 85, 90


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
    """Images as they came, each under the hash of its bytes, and what is made of them to be shown.

    What is made of them lies in a folder of this machine, and may be deleted at any time.

    Attributes:
        files: where the images lie as they came.
    """

    def __init__(self, folder: Path, files: ImageFiles | None = None) -> None:
        """Use the folder, which need not exist yet.

        Args:
            folder: what is made of the images lies in it, and the images where `files` is None.
            files: where the images lie.
        """
        self.files: ImageFiles = files or FolderFiles(folder / "pictures")
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
            self.files.write(image_hash, content)
            self._keep_costly(image_hash, seen)
        return image_hash

    def save(self, content: bytes) -> str:
        """Store an image that needs no check, synced to disk, and return its hash.

        Raises StorageUnavailable.
        """
        image_hash = content_hash(content)
        self.files.write(image_hash, content)
        return image_hash

    def renew(self, image_hash: str) -> bool:
        """Restart the age of a stored file; False where it is gone or damaged.

        No file that young counts as left over, so a row has time to name it. Raises
        StorageUnavailable where the images can't be reached.
        """
        if not self.files.renew(image_hash):
            return False
        try:
            self._read(image_hash)
        except ImageNotFound:
            return False
        return True

    def reuse(self, image_hash: str) -> bytes:
        """Return a stored image's bytes, the age of its file restarted as by `renew`.

        Raises:
            ImageNotFound: its file is gone or damaged.
            StorageUnavailable: the images can't be reached, or the file was set aside meanwhile
                and can't be written anew.
        """
        content = self._read(image_hash)
        if not self.files.renew(image_hash):
            self.files.write(image_hash, content)
        return content

    def find_missing(self, image_hashes: Collection[str]) -> set[str]:
        """Return those of the hashes that no file has for its name; none is read.

        Raises StorageUnavailable.
        """
        return self.files.find_missing(image_hashes)

    def renewed_at(self, prefix: str) -> dict[str, float]:
        """Return the hashes with these first two digits, and when each file was renewed.

        Times are in seconds since 1970. Raises StorageUnavailable.
        """
        return self.files.renewed_at(prefix)

    def tidy(self, prefix: str, before: float) -> None:
        """Undo what a crash left among these hashes: files half written, images set aside.

        Raises StorageUnavailable.
        """
        self.files.tidy(prefix, before)

    def set_aside(self, image_hash: str, before: float) -> bool:
        """Take the image away, to be dropped or put back; False where its age began anew.

        From now on `renew` does not find it, or is refused; whoever renewed it before has
        restarted its age. Raises StorageUnavailable.
        """
        return self.files.set_aside(image_hash, before)

    def put_back(self, image_hash: str) -> None:
        """Undo set_aside, and restart the image's age. Raises StorageUnavailable."""
        self.files.put_back(image_hash)

    def drop_aside(self, image_hash: str) -> None:
        """Delete an image that was set aside, and what was made of it on this machine.

        Raises StorageUnavailable.
        """
        with or_storage_unavailable(UNAVAILABLE):
            for made in self._thumbnails.glob(f"*/{image_hash[:2]}/{image_hash}.webp"):
                made.unlink(missing_ok=True)
        self.files.drop_aside(image_hash)

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
        return self._seen(image_hash, content)

    def _seen(self, image_hash: str, content: bytes) -> Image.Image:
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
            write_whole(self._seen_path(image_hash), buffer.getvalue(), sync=False)

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
        """Return an image as it came, for its owner: its file may tell where it was taken.

        Raises:
            ImageNotFound: its file is gone or damaged.
            StorageUnavailable: the images can't be reached.
        """
        content = self._read(image_hash)
        return StoredImage(content, media_type(content), image_hash)

    def shown(self, image_hash: str) -> StoredImage:
        """Return an image as it is shown to others: with no metadata and nothing behind its end.

        Its pixels are those of its file, or, where its format keeps them from being told from
        the rest (see cleaner.py), a WebP within MAX_DECODED_SIDE, made once.

        Raises:
            ImageNotFound: its file is gone or damaged.
            StorageUnavailable: the images can't be reached.
            Overloaded: as `decode`.
        """
        content = self._read(image_hash)
        kind = media_type(content)
        clean = cleaner.clean(content, kind)
        if clean is not None:
            return StoredImage(clean, kind, f"{image_hash}-clean-{cleaner.VERSION}")
        make = partial(self._render, image_hash, content, MAX_DECODED_SIDE, _DISPLAY_QUALITY)
        return self._made("display", image_hash, make)

    def thumbnail(self, image_hash: str, side: int) -> StoredImage:
        """Return a WebP that fits in side × side pixels, made once where it can be stored.

        Args:
            image_hash: the image.
            side: one of THUMBNAIL_SIDES.

        Raises:
            ImageNotFound: the image's file is gone or damaged.
            StorageUnavailable: the images can't be reached.
        """
        if side not in THUMBNAIL_SIDES:
            raise ValueError(f"side is one of {THUMBNAIL_SIDES}, not {side}")
        return self._made(str(side), image_hash, partial(self._make_thumbnail, image_hash, side))

    def _made(self, name: str, image_hash: str, make: Callable[[], bytes]) -> StoredImage:
        """Return the WebP of this name, made once where it can be stored."""
        folder = self._thumbnails / f"{name}-{VERSION}" / image_hash[:2]
        path = folder / f"{image_hash}.webp"
        if path.exists():
            with or_storage_unavailable(UNAVAILABLE):
                content = path.read_bytes()
        else:
            content = make()
            with suppress(StorageUnavailable):  # a full disk keeps nobody from seeing it
                write_whole(path, content, sync=False)
        return StoredImage(content, "image/webp", f"{image_hash}-{name}-{VERSION}")

    def _make_thumbnail(self, image_hash: str, side: int) -> bytes:
        return self._render(image_hash, self._read(image_hash), side, _THUMBNAIL_QUALITY)

    def _render(self, image_hash: str, content: bytes, side: int, quality: int) -> bytes:
        """Return a WebP of the image within this side, with the mark of a generated one."""
        image = self._seen(image_hash, content)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        told = mark() if says_generated(content) else b""
        image.save(buffer, "WEBP", quality=quality, xmp=told)
        return buffer.getvalue()

    def _read(self, image_hash: str) -> bytes:
        content = self.files.read(image_hash)
        if content_hash(content) != image_hash:
            raise ImageNotFound("图片文件已损坏")
        return content
