"""Images decoded as a person sees them: upright, in sRGB, of a bounded size, whatever the file."""

from __future__ import annotations

import base64
import binascii
import math
import os
import re
from typing import Any

from PIL import ExifTags, Image, ImageOps

from product_search.errors import AppError, ImageTooComplex, InvalidImage, RegionOutsideImage
from product_search.images import costs, depth, jpeg_end
from product_search.images.budget import Budget
from product_search.images.formats import (
    DECODE_ERRORS,
    MAX_BYTES,
    MEMORY,
    check_bytes,
    is_plain,
    open_header,
    open_unbounded,
)
from product_search.images.ground import on_ground
from product_search.images.processes.messages import Decoded, Region
from product_search.images.processes.pool import DecodingProcesses, default_count
from product_search.images.srgb import to_srgb

# Raised when a file is seen in other colours, on another ground or at another scale than before:
# it is part of the encoders' fingerprints and of the thumbnails' names, so that both are made anew.
# Of version 1 were images as they are stored, without profiles, cut-outs over white.
VERSION = 2
VERSIONS = (2, 1)  # the newest first; what was encoded under an older one can still be searched
# No encoder and no thumbnail needs more; it bounds what a batch of images takes in memory.
MAX_DECODED_SIDE = 1024
Box = tuple[int, int, int, int]  # left, top, right, bottom
_DECODED_SIZE = (MAX_DECODED_SIDE, MAX_DECODED_SIDE)
_MANY_PIXELS = 4_500_000  # a larger image is reduced in strips
_MANY_PLAIN_PIXELS = 18_000_000  # likewise, of an image that needs no copy
_STRIP_PIXELS = 250_000
_CUT_SHORT = "图片文件不完整：结尾缺失，缺失的部分显示为灰色"
_DATA_URI = re.compile(r"data:[^,]{0,200};base64,", re.ASCII | re.IGNORECASE)
# What is decoded in the thread that asks: tens of milliseconds, and a tenth of a gigabyte at most.
# It takes its turn, so that there are no more at once than processors; all else is decoded apart.
_PIXELS_HERE, _MEMORY_HERE = 40_000_000, 100_000_000
_turns_here = Budget(max(2, min(8, os.cpu_count() or 1)))
_processes = DecodingProcesses(default_count(), MEMORY)


def from_base64(text: str) -> bytes:
    """Return the bytes of a base64 text or a data URI; line breaks in the text are allowed.

    Raises:
        ImageTooLarge: the text is longer than that of MAX_BYTES bytes.
        InvalidImage: the text is not base64.
    """
    start = _DATA_URI.match(text)
    bare = text[start.end() :] if start else text
    check_bytes(b"" if len(bare) <= MAX_BYTES * 3 // 2 else bare.encode())
    try:
        return base64.b64decode("".join(bare.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImage("图片不是有效的 base64") from error


def decode(content: bytes, region: Region | None = None) -> Image.Image:
    """Decode an image: first frame, upright, sRGB, a cut-out on a ground that shows it.

    The result is the region alone, if one is given: left, top, width and height in pixels of the
    upright image. Its longer side is at most MAX_DECODED_SIDE: larger images are shrunk. The bytes
    tell the format, whatever the file was named. A JPEG that lacks no more than its end is taken:
    `image_warnings` tells.

    Raises:
        ImageTooLarge: over MAX_BYTES.
        ImageTooManyPixels: too many pixels or too long, by the header; nothing was decoded.
        ImageTooComplex: decoding would take far longer, or far more memory, than an image of its
            size should, or longer than what is left of the allowance.
        InvalidImage: not an image, or truncated.
        RegionOutsideImage: the region is not wholly within the image.
        Overloaded: others were decoded for longer than the allowance's patience.
    """
    return decode_measured(content, region).image


def decode_measured(content: bytes, region: Region | None = None) -> Decoded:
    """Return what `decode` does, and what it cost where that was much. Raises likewise."""
    check_bytes(content)
    passes = costs.passes(content)
    if passes is not None:
        header, memory = open_header(content)
        is_small = header is not None and math.prod(header.size) * passes <= _PIXELS_HERE
        if is_small and memory <= _MEMORY_HERE:
            with _turns_here.reserve(1):
                return Decoded(render(header, content, region))
    return _processes.decode(content, region)


def render(header: Image.Image | None, content: bytes, region: Region | None) -> Image.Image:
    """Decode in this thread an image whose header `open_header` has read, whatever it costs.

    Raises:
        InvalidImage: truncated or damaged.
        ImageTooComplex: it takes more memory than the process may have.
        RegionOutsideImage: the region is not wholly within the image.
    """
    try:
        image = _load(header, content, is_whole=region is not None)
        box = (0, 0, *image.size) if region is None else _box(image, region)
        small = _shrink(image, box)
        return _as_seen(_upright(small), str(image.format), content)
    except MemoryError as error:
        raise ImageTooComplex("图片过于复杂：解码所需的内存过多") from error
    except DECODE_ERRORS as error:
        raise InvalidImage("图片已损坏或不完整") from error


def image_warnings(content: bytes) -> list[str]:
    """Return what a person should know of an image that `decode` has taken."""
    return [_CUT_SHORT] if jpeg_end.lacks_end(content) else []


def _load(header: Image.Image | None, content: bytes, *, is_whole: bool) -> Image.Image:
    """Decode the pixels, of a JPEG no more than needed, and bring deep ones to 8 bits."""
    if not jpeg_end.lacks_end(content):
        return _pixels(header or open_unbounded(content), content, is_whole=is_whole)
    mended = content + jpeg_end.END
    image = _pixels(open_unbounded(mended), mended, is_whole=is_whole)
    if not jpeg_end.is_nearly_whole(image, content):
        raise OSError("truncated")
    return image


def _pixels(image: Image.Image, content: bytes, *, is_whole: bool) -> Image.Image:
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        image.info.pop("exif", None)  # libjxl has turned it already; a JPEG kept within stays
    if not is_whole:
        image.draft(None, _DECODED_SIZE)  # JPEG: decode fewer pixels
    tiles: list[Any] = list(getattr(image, "tile", []))
    image.load()
    if depth.is_deep(image):
        eight = depth.to_8_bits(image)
    else:
        eight = depth.low_bits(image, content, tiles)
    if eight is not image:
        eight.info, eight.format = image.info, image.format
    return eight


def _box(image: Image.Image, region: Region) -> Box:
    """Return the region of the upright image as a box of the image as it is stored."""
    left, top, width, height = region
    right, bottom = left + width, top + height
    turned = orientation(image)
    w, h = image.size
    upright = (h, w) if turned >= 5 else (w, h)
    if right > upright[0] or bottom > upright[1]:
        size = f"{upright[0]} × {upright[1]}"
        raise RegionOutsideImage(f"region 超出图片：图片为 {size} 像素")
    boxes = {
        2: (w - right, top, w - left, bottom),
        3: (w - right, h - bottom, w - left, h - top),
        4: (left, h - bottom, right, h - top),
        5: (top, left, bottom, right),
        6: (top, h - right, bottom, h - left),
        7: (w - bottom, h - right, w - top, h - left),
        8: (w - bottom, left, w - top, right),
    }
    return boxes.get(turned, (left, top, right, bottom))


def find_orientation(content: bytes) -> int:
    """Return how an image is turned, told by its header: 1 for one that is upright, or unread."""
    try:
        with open_unbounded(content) as image:
            return orientation(image)
    except AppError:
        return 1


def orientation(image: Image.Image) -> int:
    """Return how the image is turned, by EXIF's numbers from 1 (upright) to 8."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except DECODE_ERRORS:
        return 1
    return value if value in range(1, 9) else 1


def _upright(image: Image.Image) -> Image.Image:
    if orientation(image) == 1:
        return image
    try:
        return ImageOps.exif_transpose(image)
    except DECODE_ERRORS:
        return image  # broken EXIF says nothing about the pixels, which did decode


def _shrink(image: Image.Image, box: Box) -> Image.Image:
    """Return the box of the image, with its longer side at most MAX_DECODED_SIDE."""
    width, height = box[2] - box[0], box[3] - box[1]
    if width * height > (_MANY_PLAIN_PIXELS if is_plain(image) else _MANY_PIXELS):
        small = _reduce_by_strips(image, box)
    else:
        small = _averageable(image if box == (0, 0, *image.size) else image.crop(box))
    small.thumbnail(_DECODED_SIZE, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return small


def _reduce_by_strips(image: Image.Image, box: Box) -> Image.Image:
    """Shrink the box to between 1.5 and 3 times MAX_DECODED_SIDE, without a copy of it whole."""
    left, top, right, bottom = box
    factor = max(max(right - left, bottom - top) // (3 * MAX_DECODED_SIDE // 2), 1)
    rows = max(_STRIP_PIXELS // (right - left) // factor, 1) * factor
    size = (-(-(right - left) // factor), -(-(bottom - top) // factor))
    reduced: Image.Image | None = None
    for y in range(top, bottom, rows):
        strip = _averageable(image.crop((left, y, right, min(y + rows, bottom))))
        small = _reduce(strip, factor)
        reduced = reduced or Image.new(small.mode, size)
        reduced.paste(small, (0, (y - top) // factor))
    assert reduced is not None  # a box has at least one row
    reduced.info = image.info
    return reduced


def _reduce(image: Image.Image, factor: int) -> Image.Image:
    """Average blocks of factor × factor pixels; what is transparent lends no colour."""
    if image.mode not in ("RGBA", "LA"):
        return image.reduce(factor)
    return image.convert(image.mode[:-1] + "a").reduce(factor).convert(image.mode)


def _averageable(image: Image.Image) -> Image.Image:
    """Convert to a mode whose pixels can be averaged; grey stays grey, as its profile has it."""
    if image.has_transparency_data:
        if image.mode in ("RGBA", "LA"):
            return image
        return image.convert("LA" if image.mode == "L" else "RGBA")
    other = {"1": "L", "P": "RGB", "PA": "RGB"}.get(image.mode)
    return image.convert(other) if other else image


def _as_seen(image: Image.Image, name: str, content: bytes) -> Image.Image:
    seen = to_srgb(image, name, content)
    return on_ground(seen) if seen.mode == "RGBA" else seen
