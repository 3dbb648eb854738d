"""Pictures that tests make: good ones of every kind, and hostile ones."""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from product_search.images.files.folder import FolderFiles
from product_search.images.store import ImageStore

COLOURS = ((220, 30, 30), (30, 200, 60), (40, 60, 210), (240, 220, 20))
SIZE = (48, 32)


def four_colours(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """A quarter of the image in each colour: red, green / blue, yellow."""
    image = Image.new("RGB", size)
    width, height = size[0] // 2, size[1] // 2
    for place, colour in enumerate(COLOURS):
        left, top = (place % 2) * width, (place // 2) * height
        image.paste(colour, (left, top, left + width, top + height))
    return image.convert(mode)


def age(path: Path) -> None:
    """As if the file had been written two days ago."""
    old = time.time() - 2 * 24 * 3600
    os.utime(path, (old, old))


def file_of(store: ImageStore, image_hash: str) -> Path:
    """Where the image lies in the store's folder."""
    assert isinstance(store.files, FolderFiles)
    return store.files.path(image_hash)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image's bytes in the format that Pillow calls `kind`."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """An image that compresses badly, and is unlike those of other seeds."""
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def animated(kind: str) -> bytes:
    """Two frames: the four colours, then black."""
    first, second = four_colours("P" if kind == "GIF" else "RGBA"), Image.new("RGBA", SIZE, "black")
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    return encoded(first, kind, save_all=True, append_images=[second], duration=100, **options)


def transparent(kind: str) -> bytes:
    """Red in the left half, nothing at all in the right half."""
    image = Image.new("RGBA", SIZE, (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (SIZE[0] // 2, 0, SIZE[0], SIZE[1]))
    if kind == "LA":
        return encoded(image.convert("LA"), "PNG")
    if kind == "P":
        return encoded(image.quantize(colors=8), "PNG")
    return encoded(image, kind)


def rotated_by_exif() -> bytes:
    """A JPEG whose EXIF says: turn me by 90° clockwise (orientation 6)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(four_colours(), "JPEG", quality=95, exif=exif)


def with_corrupt_exif() -> bytes:
    """A JPEG that reads well but whose EXIF block is garbage."""
    return encoded(
        four_colours(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\x01\x12"
    )


def sixteen_bit_grey() -> bytes:
    """A 16-bit greyscale PNG: its left half at 10 %, its right half at 80 % of the range."""
    values = np.full((SIZE[1], SIZE[0]), 6_554, np.uint16)
    values[:, SIZE[0] // 2 :] = 52_429
    return encoded(Image.fromarray(values), "PNG")


def float_tiff() -> bytes:
    """A TIFF with 32-bit float values between 0 and 255."""
    values = np.linspace(0, 255, SIZE[0] * SIZE[1], dtype=np.float32)
    return encoded(Image.fromarray(values.reshape(SIZE[1], SIZE[0])), "TIFF")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def jpeg_of_scans(count: int, size: tuple[int, int] = SIZE) -> bytes:
    """A progressive JPEG with so many scans more, which hold nothing: 10 bytes each."""
    content = encoded(Image.new("L", size, 90), "JPEG", progressive=True)
    empty = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 63, 0)
    assert content.endswith(b"\xff\xd9")
    return content[:-2] + empty * count + content[-2:]


def jpeg_of_segments(count: int) -> bytes:
    """A JPEG with so many empty comments before its pixels."""
    content = encoded(four_colours(), "JPEG")
    return content[:2] + b"\xff\xfe\0\x02" * count + content[2:]


def gif_of_remarks(count: int) -> bytes:
    """A GIF with so many comments of one letter before its pixels."""
    content = encoded(four_colours("P"), "GIF")
    start = content.index(b",", 13)
    return content[:start] + b"!\xfe" + b"\x01a" * count + b"\0" + content[start:]


def bomb_header(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG of a few bytes whose header claims many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + _chunk(b"IEND", b"")
    )


def bomb_whole() -> bytes:
    """A valid 1-bit PNG of 225 megapixels in some kilobytes."""
    return encoded(Image.new("1", (15_000, 15_000)), "PNG")


def gif_with_frame_beyond_its_screen(width: int = 60_000, height: int = 60_000) -> bytes:
    """A GIF whose screen is 1 × 1 and whose only frame claims far more."""
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0)
        + b"\0\0\0\xff\xff\xff"
        + b","
        + struct.pack("<HHHHB", 0, 0, width, height, 0)
        + b"\x02\x02\x44\x01\x00;"
    )


SVG = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text>&x;</text></svg>"""


def over_ten_megabytes() -> bytes:
    """A readable image with more than 10 MB of trailing bytes."""
    return encoded(four_colours(), "JPEG") + bytes(10 * 1024 * 1024)


def good_images() -> dict[str, bytes]:
    """Pictures that are searched as they are, by what is special about them."""
    photo = four_colours()
    return {
        "jpeg": encoded(photo, "JPEG"),
        "progressive jpeg": encoded(photo, "JPEG", progressive=True),
        "grey jpeg": encoded(photo.convert("L"), "JPEG"),
        "cmyk jpeg": encoded(photo.convert("CMYK"), "JPEG"),
        "jpeg rotated by exif": rotated_by_exif(),
        "png": encoded(photo, "PNG"),
        "rgba png": transparent("PNG"),
        "la png": transparent("LA"),
        "palette png": encoded(photo.quantize(16), "PNG"),
        "palette png with alpha": transparent("P"),
        "1-bit png": encoded(photo.convert("1"), "PNG"),
        "16-bit png": sixteen_bit_grey(),
        "1x1 png": encoded(Image.new("RGB", (1, 1), "red"), "PNG"),
        "30000x1 png": encoded(Image.new("RGB", (30_000, 1), "red"), "PNG"),
        "animated png": animated("PNG"),
        "gif": encoded(photo, "GIF"),
        "animated gif": animated("GIF"),
        "webp": encoded(photo, "WEBP"),
        "webp with alpha": transparent("WEBP"),
        "animated webp": animated("WEBP"),
        "bmp": encoded(photo, "BMP"),
        "tiff": encoded(photo, "TIFF"),
        "float tiff": float_tiff(),
    }


def bad_images() -> dict[str, bytes]:
    """Bytes that are no whole image."""
    photo = noise((64, 64))
    jpeg, png = encoded(photo, "JPEG"), encoded(photo, "PNG")
    webp, gif = encoded(photo, "WEBP"), encoded(photo, "GIF")
    return {
        "nothing": b"",
        "text": "这不是图片".encode(),
        "svg": SVG,
        "html": b"<html><img src=x></html>",
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "zeros": bytes(2_000),
        "truncated jpeg": jpeg[: len(jpeg) // 2],
        "jpeg header only": jpeg[:20],
        "truncated png": png[: len(png) // 2],
        "png signature only": png[:8],
        "truncated webp": webp[: len(webp) // 2],
        "truncated gif": gif[: len(gif) // 3],
        "png with a broken checksum": png[:100] + bytes([png[100] ^ 255]) + png[101:],
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    }
