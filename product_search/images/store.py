"""Pictures: bytes checked and decoded to RGB, and a store of files keyed by content hash."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import math
import os
import re
import struct
import tempfile
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from product_search.errors import (
    ImageNotFound,
    ImageTooLarge,
    ImageTooManyPixels,
    InvalidImage,
    RegionOutsideImage,
    or_storage_unavailable,
)

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 40_000_000
MAX_SIDE = 65_535  # a JPEG's longest; Pillow pays for every row, however short
THUMBNAIL_SIDES = (64, 128, 256, 512, 1024)
# No encoder and no thumbnail needs more; it bounds what a batch of images takes in memory.
MAX_DECODED_SIDE = 1024
_DECODED_SIZE = (MAX_DECODED_SIDE, MAX_DECODED_SIDE)
Region = tuple[int, int, int, int]  # left, top, width, height in pixels of the upright image
# An image at the limit takes some 400 MB while it is decoded: so many at once, the others wait.
_decoding = threading.BoundedSemaphore(2)
_TIFF_TILE_TAGS = (322, 323)  # TileWidth, TileLength
# Pillow's own bomb check warns or raises by its own limits; `_open` applies ours to every image.
Image.MAX_IMAGE_PIXELS = None
Image.init()  # `Image.open(formats=…)` knows only the readers that are loaded

# What is read, by Pillow's name of the format, and the type under which it is served again.
_MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # what some cameras write into a .jpg: a JPEG with more behind it
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}
_READERS = [name for name in _MEDIA_TYPES if name != "MPO"]  # the JPEG reader reads that too
# What Pillow's readers raise on hostile bytes.
_DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    ZeroDivisionError,
    RuntimeError,
    MemoryError,
    struct.error,
)
_DATA_URI = re.compile(r"data:[^,]{0,200};base64,", re.ASCII | re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{64}")
_ASIDE = ".aside"  # ends the name of an image that is about to be deleted
_PARTIAL = "partial-"  # begins the name of a file that is being written


@dataclass(frozen=True)
class StoredImage:
    """A file to serve: its bytes, their media type, and a tag that changes with the bytes."""

    content: bytes
    media_type: str
    etag: str


def from_base64(text: str) -> bytes:
    """The bytes of a base64 text or a data URI; line breaks in it are allowed.

    Raises:
        ImageTooLarge: the text is longer than that of MAX_BYTES bytes.
        InvalidImage: it is not base64.
    """
    start = _DATA_URI.match(text)
    bare = text[start.end() :] if start else text
    if len(bare) > MAX_BYTES * 3 // 2:
        raise _too_large()
    try:
        return base64.b64decode("".join(bare.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImage("图片不是有效的 base64") from error


def decode(content: bytes, region: Region | None = None) -> Image.Image:
    """The image in the bytes: first frame, upright, RGB, transparency over white.

    Of it the region alone, if one is given. Its longer side is at most MAX_DECODED_SIDE: larger
    images come shrunk. The format is told by the bytes, whatever the file was named.

    Raises:
        ImageTooLarge: over MAX_BYTES.
        ImageTooManyPixels: over MAX_PIXELS or MAX_SIDE, by the header; nothing was decoded.
        InvalidImage: not an image, or truncated.
        RegionOutsideImage: the region is not wholly within it.
    """
    with _decoding:
        image = _open(content)
        try:
            if region is None:
                image.draft(None, _DECODED_SIZE)  # JPEG: decode fewer pixels
            image.load()
            image = _shrinkable(image)
            if region is not None:
                image = _cut(_upright(image), region)
            image.thumbnail(_DECODED_SIZE, Image.Resampling.BICUBIC, reducing_gap=2.0)
            return _on_white(_upright(image))
        except _DECODE_ERRORS as error:
            raise InvalidImage("图片已损坏或不完整") from error


def _open(content: bytes) -> Image.Image:
    if len(content) > MAX_BYTES:
        raise _too_large()
    try:
        image = Image.open(io.BytesIO(content), formats=_READERS)
    except _DECODE_ERRORS as error:
        raise InvalidImage(f"不是可识别的图片（支持 {'、'.join(_READERS)}）") from error
    if max(image.width * image.height, _tile_pixels(image)) > MAX_PIXELS:
        raise ImageTooManyPixels(f"图片像素过多：最多 {MAX_PIXELS // 10_000} 万像素")
    if max(image.size) > MAX_SIDE:
        raise ImageTooManyPixels(f"图片过长：边长最多 {MAX_SIDE} 像素")
    return image


def _tile_pixels(image: Image.Image) -> int:
    """Pixels of a TIFF's tile, which is decoded whole even where the image is smaller."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    sides = [image.tag_v2.get(tag, 0) for tag in _TIFF_TILE_TAGS]
    return math.prod(side if isinstance(side, int) else MAX_PIXELS + 1 for side in sides)


def _too_large() -> ImageTooLarge:
    return ImageTooLarge(f"图片过大：最多 {MAX_BYTES // 1024 // 1024} MB")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DECODE_ERRORS:
        return image  # broken EXIF says nothing about the pixels, which did decode


def _cut(image: Image.Image, region: Region) -> Image.Image:
    left, top, width, height = region
    if left + width > image.width or top + height > image.height:
        size = f"{image.width} × {image.height}"
        raise RegionOutsideImage(f"region 超出图片：图片为 {size} 像素")
    return image.crop((left, top, left + width, top + height))


def _shrinkable(image: Image.Image) -> Image.Image:
    """In a mode whose pixels can be averaged; a large image is not copied more than once."""
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip at 255
        upright = np.asarray(_upright(image))
        return Image.fromarray((upright.clip(0, 65_535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        return image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
    return image.convert("RGB") if image.mode in ("1", "P") else image


def _on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, "white")
        canvas.alpha_composite(image.convert("RGBA"))
        image = canvas
    return image.convert("RGB")


class ImageStore:
    """Pictures as they came, in a folder, each under the SHA-256 of its bytes."""

    def __init__(self, folder: Path) -> None:
        self._images = folder / "pictures"
        self._thumbnails = folder / "thumbnails"

    def save(self, content: bytes) -> str:
        """Keep the bytes, synced to disk when this returns; the hash that names them.

        The caller has checked them with `decode`. Raises StorageUnavailable.
        """
        image_hash = hashlib.sha256(content).hexdigest()
        _write(self.path(image_hash), content, sync=True)
        return image_hash

    def find(self, content: bytes) -> str | None:
        """The hash of these bytes if they are kept already, undamaged.

        The file is as new again, so that nobody takes it for left over before a row names it.
        """
        image_hash = hashlib.sha256(content).hexdigest()
        try:
            os.utime(self.path(image_hash))
            self._read(image_hash)
        except (OSError, ImageNotFound):
            return None
        return image_hash

    def has(self, image_hash: str) -> bool:
        """Whether there is a file for this hash; it is not read. Raises StorageUnavailable."""
        with _readable():
            return _HASH.fullmatch(image_hash) is not None and self.path(image_hash).is_file()

    def kept(self, prefix: str) -> dict[str, float]:
        """The hashes with these first two digits, and when each was last kept.

        Times are in seconds since 1970. Raises StorageUnavailable.
        """
        with _readable():
            files = [path for path in self._files(prefix) if _HASH.fullmatch(path.name)]
            return {path.name: time for path in files if (time := _kept_at(path)) is not None}

    def tidy(self, prefix: str, before: float) -> None:
        """Undo what a crash has left in this folder: files half written, images set aside.

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
        """Take the image away, to be dropped or put back; False where it was kept anew since.

        From now on `find` does not know it; whoever found it before has made it new.
        """
        aside = self._aside(image_hash)
        with _readable():
            self.path(image_hash).rename(aside)
            if _is_older(aside, before):
                return True
            self.put_back(image_hash)
            return False

    def put_back(self, image_hash: str) -> None:
        """Undo set_aside; the image is as new. Raises StorageUnavailable."""
        aside = self._aside(image_hash)
        with _readable():
            os.utime(aside)
            aside.rename(self.path(image_hash))

    def drop_aside(self, image_hash: str) -> None:
        """Delete what was set aside, and its thumbnails. Raises StorageUnavailable."""
        with _readable():
            for thumbnail in self._thumbnails.glob(f"*/{image_hash[:2]}/{image_hash}.webp"):
                thumbnail.unlink(missing_ok=True)
            self._aside(image_hash).unlink(missing_ok=True)

    def _aside(self, image_hash: str) -> Path:
        return self.path(image_hash).with_suffix(_ASIDE)

    def path(self, image_hash: str) -> Path:
        """Where the image of this hash lies, or would lie."""
        if _HASH.fullmatch(image_hash) is None:
            raise ValueError(f"not a content hash: {image_hash!r}")
        return self._images / image_hash[:2] / image_hash

    def load(self, image_hash: str, region: Region | None = None) -> Image.Image:
        """The image, or a region of it, decoded.

        Raises ImageNotFound where its file is gone or damaged, RegionOutsideImage.
        """
        return decode(self._read(image_hash), region)

    def original(self, image_hash: str) -> StoredImage:
        """The bytes as they came. Raises ImageNotFound where the file is gone or damaged."""
        content = self._read(image_hash)
        media_type = _MEDIA_TYPES[str(_open(content).format)]
        return StoredImage(content, media_type, image_hash)

    def thumbnail(self, image_hash: str, side: int) -> StoredImage:
        """A WebP that fits in side × side pixels, made once; `side` is one of THUMBNAIL_SIDES.

        Raises ImageNotFound where the image's file is gone or damaged, StorageUnavailable where
        the thumbnail can't be kept.
        """
        if side not in THUMBNAIL_SIDES:
            raise ValueError(f"side is one of {THUMBNAIL_SIDES}, not {side}")
        path = self._thumbnails / str(side) / image_hash[:2] / f"{image_hash}.webp"
        if not path.exists():
            image = self.load(image_hash)
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=85)
            _write(path, buffer.getvalue(), sync=False)
        return StoredImage(path.read_bytes(), "image/webp", f"{image_hash}-{side}")

    def _read(self, image_hash: str) -> bytes:
        try:
            content = self.path(image_hash).read_bytes()
        except OSError as error:
            raise ImageNotFound("图片文件已丢失或无法读取") from error
        if hashlib.sha256(content).hexdigest() != image_hash:
            raise ImageNotFound("图片文件已损坏")
        return content


def _kept_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # what was being written has its own name by now
        return None


def _is_older(path: Path, before: float) -> bool:
    kept_at = _kept_at(path)
    return kept_at is not None and kept_at < before


def _readable() -> AbstractContextManager[None]:
    return or_storage_unavailable("图片目录暂时无法使用，请稍后重试")


def _write(path: Path, content: bytes, *, sync: bool) -> None:
    """Appear whole under the final name, or not at all. Raises StorageUnavailable."""
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
