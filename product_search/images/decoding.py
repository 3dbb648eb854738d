"""Images decoded: bytes checked, and turned into upright RGB of a bounded size."""

from __future__ import annotations

import base64
import binascii
import io
import math
import re
import struct
import threading

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from product_search.errors import (
    ImageTooLarge,
    ImageTooManyPixels,
    InvalidImage,
    RegionOutsideImage,
)

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 40_000_000
MAX_SIDE = 65_535  # a JPEG's longest; Pillow pays for every row, however short
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


def from_base64(text: str) -> bytes:
    """Return the bytes of a base64 text or a data URI; line breaks in the text are allowed.

    Raises:
        ImageTooLarge: the text is longer than that of MAX_BYTES bytes.
        InvalidImage: the text is not base64.
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
    """Decode an image: first frame, upright, RGB, transparency over white.

    The result is the region alone, if one is given. Its longer side is at most MAX_DECODED_SIDE:
    larger images are shrunk. The bytes tell the format, whatever the file was named.

    Raises:
        ImageTooLarge: over MAX_BYTES.
        ImageTooManyPixels: over MAX_PIXELS or MAX_SIDE, by the header; nothing was decoded.
        InvalidImage: not an image, or truncated.
        RegionOutsideImage: the region is not wholly within the image.
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


def media_type(content: bytes) -> str:
    """Return the media type under which an image is served, told by its bytes."""
    return _MEDIA_TYPES[str(_open(content).format)]


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
    """Count the pixels of a TIFF's tile, which is decoded whole even for a smaller image."""
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
    """Convert to a mode whose pixels can be averaged, with at most one copy of a large image."""
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
