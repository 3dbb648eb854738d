"""The formats of images that are read, told by their bytes, and how large an image may be."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from PIL import ExifTags, Image, TiffImagePlugin

from product_search.errors import ImageTooLarge, ImageTooManyPixels, InvalidImage
from product_search.heap import give_back_large_blocks
from product_search.images import jpeg_end
from product_search.images.quiet import silence_decoders

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 200_000_000
# What is decoded whole, by libraries that hold the image more than once, stays within MEMORY.
_LESS_PIXELS = {"WEBP": 90_000_000, "AVIF": 160_000_000, "JXL": 190_000_000}
MAX_SIDE = 65_535  # a JPEG's longest; Pillow pays for every row, however short
MEMORY = 1_500_000_000  # bytes that all images which are being decoded may take together
_BYTES_PER_PIXEL = {"WEBP": 16, "AVIF": 9, "HEIF": 7.5, "JXL": 7.8}  # measured, at most
_OVERHEAD = 24_000_000
# Of others than plain images a copy is made before they are shrunk, and one with colours weighted
# by their opacity; of a larger image, of its reduction.
_COPIED_PIXELS, _COPY_BYTES = 9_500_000, 9
_TIFF_TILE_TAGS = (322, 323)  # TileWidth, TileLength

# What is read, by Pillow's name of the format, and the type under which it is served again.
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # what some cameras write into a .jpg: a JPEG with more behind it
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
    "JXL": "image/jxl",
}
# What need not be opened to be told; all else Pillow's readers tell.
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
# What Pillow's readers raise on hostile bytes.
DECODE_ERRORS = (
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


@cache
def readers() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are read, their readers loaded and silent."""
    import pi_heif
    import pillow_jxl  # noqa: F401  registers itself

    pi_heif.register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None  # `check_size` applies our own limits to every image
    Image.init()  # `Image.open(formats=…)` knows only the readers that are loaded
    silence_decoders()
    give_back_large_blocks()
    return tuple(name for name in MEDIA_TYPES if name != "MPO")  # the JPEG reader reads that


def open_image(content: bytes) -> Image.Image:
    """Open an image by its header; a JPEG XL is decoded by this.

    Raises:
        ImageTooLarge: over MAX_BYTES.
        ImageTooManyPixels: more pixels, or a longer side, than an image of its format may have.
        InvalidImage: no image of a format that is read.
    """
    check_bytes(content)
    return open_unbounded(content)


def open_unbounded(content: bytes) -> Image.Image:
    """Open an image whose bytes were counted already. Raises as `open_image`."""
    with _unreadable():
        if (size := jxl_size(content)) is not None:
            check_size("JXL", size)
        image = Image.open(io.BytesIO(content), formats=readers())
    check_size(str(image.format), image.size, _tile_pixels(image))
    return image


def media_type(content: bytes) -> str:
    """Return the media type under which an image is served, told by its bytes. Raises likewise."""
    check_bytes(content)
    for signature, name in _SIGNATURES.items():
        if content.startswith(signature):
            return MEDIA_TYPES[name]
    with _unreadable():
        is_jxl = jxl_size(content) is not None  # which Pillow's reader would decode
    return MEDIA_TYPES["JXL" if is_jxl else str(open_image(content).format)]


@contextmanager
def _unreadable() -> Iterator[None]:
    """Turn what a reader raises in the block into InvalidImage."""
    try:
        yield
    except DECODE_ERRORS as error:
        raise InvalidImage(f"不是可识别的图片（支持 {'、'.join(readers())}）") from error


def check_bytes(content: bytes) -> None:
    """Raise ImageTooLarge for more than MAX_BYTES."""
    if len(content) > MAX_BYTES:
        raise ImageTooLarge(f"图片过大：最多 {MAX_BYTES // 1024 // 1024} MB")


def check_size(name: str, size: tuple[int, int], tile_pixels: int = 0) -> None:
    """Raise ImageTooManyPixels for a size that an image of this format may not have."""
    most = _LESS_PIXELS.get(name, MAX_PIXELS)
    if max(math.prod(size), tile_pixels) > most:
        raise ImageTooManyPixels(f"图片像素过多：{name} 最多 {most // 10_000} 万像素")
    if max(size) > MAX_SIDE:
        raise ImageTooManyPixels(f"图片过长：边长最多 {MAX_SIDE} 像素")


def open_header(content: bytes) -> tuple[Image.Image | None, int]:
    """Open an image by its header, and estimate the bytes that decoding it takes at its peak.

    Raises as `open_image`; a JPEG XL, which Pillow's reader decodes at once, is not opened.
    """
    check_bytes(content)
    with _unreadable():
        size = jxl_size(content)
    if size is not None:
        check_size("JXL", size)
        return None, int(math.prod(size) * _BYTES_PER_PIXEL["JXL"]) + _OVERHEAD
    image = open_image(content)
    pixels = math.prod(image.size)
    copied = 0 if is_plain(image) else min(pixels, _COPIED_PIXELS) * _COPY_BYTES
    return image, int(pixels * _bytes_per_pixel(image, content)) + copied + _OVERHEAD


def is_plain(image: Image.Image) -> bool:
    """Tell whether the image is shrunk as it is, without a copy in another mode."""
    return image.mode in ("L", "RGB", "CMYK", "YCbCr") and not image.has_transparency_data


def _bytes_per_pixel(image: Image.Image, content: bytes) -> float:
    """Return what is held of a pixel at most: four bytes for colours, be they three or four."""
    if image.format in _BYTES_PER_PIXEL:
        return _BYTES_PER_PIXEL[image.format]
    held = 1.2 if image.mode in ("1", "L", "P") else 4.6
    if image.format in ("JPEG", "MPO") and jpeg_end.has_several_scans(content):
        return held + 6  # the coefficients of the whole image, beside its pixels
    if image.format == "TIFF":
        is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        held *= 3 if is_turned else 2  # beside a strip, which may be all of it; turned by Pillow
    if image.mode[0] in "IF":
        return held + 1.5  # its 8 bits
    if any(";16" in str(tile) for tile in getattr(image, "tile", ())):
        return held + 4.6  # see depth.low_bits
    return held


def _tile_pixels(image: Image.Image) -> int:
    """Count the pixels of a TIFF's tile, which is decoded whole even for a smaller image."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    sides = [image.tag_v2.get(tag, 0) for tag in _TIFF_TILE_TAGS]
    return math.prod(
        side if isinstance(side, int) and side <= MAX_SIDE else MAX_PIXELS + 1 for side in sides
    )


def jxl_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG XL, by ISO/IEC 18181-1; None for other formats.

    Raises ValueError where the header is cut off.
    """
    if content.startswith(b"\xff\x0a"):
        return _SizeHeader(content[2:18]).size()
    if not content.startswith(b"\x00\x00\x00\x0cJXL \r\n\x87\n"):
        return None
    stream = b""
    for kind, body in _boxes(content):
        if kind in (b"jxlc", b"jxlp"):
            stream += body[4:20] if kind == b"jxlp" else body[:16]  # a part begins with its number
        if len(stream) >= 16:
            break
    return _SizeHeader(stream[2:18]).size()


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        header = 8
        if length == 1:
            (length,) = struct.unpack(">Q", content[at + 8 : at + 16])
            header = 16
        end = at + length if length else len(content)
        yield kind, content[at + header : end]
        at = max(end, at + header)


class _SizeHeader:
    """The bits at the beginning of a JPEG XL codestream."""

    _RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))

    def __init__(self, content: bytes) -> None:
        self._bits = int.from_bytes(content, "little")
        self._left = 8 * len(content)

    def size(self) -> tuple[int, int]:
        """Return width and height. Raises ValueError where the bits end before."""
        is_small = self._take(1)
        height = self._side(is_small)
        if ratio := self._take(3):
            numerator, denominator = self._RATIOS[ratio - 1]
            return height * numerator // denominator, height
        return self._side(is_small), height

    def _side(self, is_small: int) -> int:
        if is_small:
            return 8 * (self._take(5) + 1)
        return self._take((9, 13, 18, 30)[self._take(2)]) + 1

    def _take(self, count: int) -> int:
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        if self._left < 0:
            raise ValueError("cut off")
        return value
