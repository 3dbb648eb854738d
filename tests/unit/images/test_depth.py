"""Pixels of 10, 12 and 16 bits and of floating-point numbers are scaled by their range."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from product_search.images.decoding import decode
from product_search.images.depth import to_8_bits
from tests.unit.pictures import encoded

SIDE = 32
LEVELS = (0, 40, 128, 255)  # of four bands, from top to bottom, in 8 bits
WITHIN = 6


def bands(top: float, kind: type, channels: int = 0) -> NDArray[Any]:
    """The four bands, where white is `top`."""
    column = np.repeat(np.array(LEVELS) / 255 * top, SIDE // len(LEVELS))
    shape = (SIDE, SIDE, channels) if channels else (SIDE, SIDE)
    pixels: NDArray[Any] = np.empty(shape, kind)
    pixels[:] = column.reshape(-1, *[1] * (len(shape) - 1)).astype(kind)
    return pixels


def seen(content: bytes) -> list[int]:
    """The level of each band as it is decoded, which is grey."""
    pixels = np.asarray(decode(content), int)
    middles = pixels[SIDE // 8 :: SIDE // 4, SIDE // 2]
    assert np.ptp(middles, axis=1).max() <= WITHIN
    return [int(one) for one in middles[:, 0]]


def assert_bands(content: bytes) -> None:
    assert np.abs(np.subtract(seen(content), LEVELS)).max() <= WITHIN, seen(content)


def png16(pixels: NDArray[Any]) -> bytes:
    """A PNG of 16 bits a channel: grey, grey and alpha, RGB or RGBA."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def tiff16(pixels: NDArray[Any], order: str = "<") -> bytes:
    """A TIFF of one strip with three channels of 16 bits."""
    short, long = 3, 4
    data = pixels.astype(f"{order}u2").tobytes()
    bits = struct.pack(f"{order}3H", 16, 16, 16)
    entries = [
        (256, short, 1, SIDE), (257, short, 1, SIDE), (258, short, 3, 8), (259, short, 1, 1),
        (262, short, 1, 2), (273, long, 1, 14), (277, short, 1, 3), (278, short, 1, SIDE),
        (279, long, 1, len(data)),
    ]  # fmt: skip
    table = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        packed = struct.pack(
            f"{order}{'HH' if kind == short and count == 1 else 'I'}",
            *((value, 0) if kind == short and count == 1 else (value,)),
        )
        table += struct.pack(f"{order}HHI", tag, kind, count) + packed
    start = 14 + len(data)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", start) + bits + data + table + bytes(4)


@pytest.mark.parametrize("top", [1023, 4095, 65_535])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_10_12_and_16_bits(top: int, kind: str) -> None:
    assert_bands(encoded(Image.fromarray(bands(top, np.uint16)), kind))


@pytest.mark.parametrize("top", [1.0, 255.0, 65_535.0])
def test_grey_of_floating_point_numbers(top: float) -> None:
    assert_bands(encoded(Image.fromarray(bands(top, np.float32)), "TIFF"))


def test_numbers_of_no_known_range_go_from_their_least_to_their_largest() -> None:
    pixels = bands(30.0, np.float32) - 10
    assert_bands(encoded(Image.fromarray(pixels), "TIFF"))


def test_what_is_no_number_is_black_or_white_and_harms_no_other_pixel() -> None:
    pixels = bands(1.0, np.float32)
    pixels[0, 0], pixels[0, 1], pixels[0, 2] = np.nan, np.inf, -np.inf
    content = encoded(Image.fromarray(pixels), "TIFF")
    assert_bands(content)
    assert [int(one) for one in np.asarray(decode(content))[0, :3, 0]] == [0, 255, 0]


def test_numbers_as_far_apart_as_there_are_overflow_nothing() -> None:
    far = np.full((40, 40), -3e38, np.float32)
    far[20:] = 3e38
    image = Image.fromarray(far)
    scaled = to_8_bits(image)
    assert (scaled.getpixel((5, 5)), scaled.getpixel((5, 35))) == (0, 255)


@pytest.mark.parametrize("level", [10, 15, 40, 128, 250])
def test_a_dark_image_of_16_bits_stays_dark(level: int) -> None:
    pixels = np.full((SIDE, SIDE), level * 257, np.uint16)
    assert np.asarray(decode(encoded(Image.fromarray(pixels), "PNG"))).max() == level


def test_an_image_of_one_number_is_no_error() -> None:
    for value in (0.0, 0.5, -3.0, 1e9):
        flat = Image.fromarray(np.full((8, 8), value, np.float32))
        assert decode(encoded(flat, "TIFF")).size == (8, 8)


@pytest.mark.parametrize(
    ("top", "channels"),
    [*((top, n) for top in (1023, 4095) for n in (3, 4)), *((65_535, n) for n in (2, 3, 4))],
)
def test_colours_of_10_12_and_16_bits_in_a_png(top: int, channels: int) -> None:
    pixels = bands(top, np.uint16, channels)
    if channels in (2, 4):
        pixels[..., -1] = 65_535
    assert_bands(png16(pixels))


@pytest.mark.parametrize("top", [1023, 4095, 65_535])
@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_of_10_12_and_16_bits_in_a_tiff(top: int, order: str) -> None:
    assert_bands(tiff16(bands(top, np.uint16, 3), order))


def test_a_few_pixels_beyond_the_range_do_not_change_it() -> None:
    for beyond in (1.02, -0.01, 40.0):
        pixels = bands(1.0, np.float32)
        pixels[0, 0] = beyond
        assert_bands(encoded(Image.fromarray(pixels), "TIFF"))


def test_white_may_be_zero() -> None:
    pixels = 65_535 - bands(65_535, np.uint16)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    image = Image.fromarray(pixels)
    content = bytearray(encoded(image, "TIFF", tiffinfo=tags))
    at = content.index(struct.pack("<HHI", 262, 3, 1)) + 8
    content[at : at + 2] = struct.pack("<H", 0)
    assert_bands(bytes(content))


@pytest.mark.parametrize("top", [255, 65_535, 2**32 - 1])
def test_grey_of_32_bits(top: int) -> None:
    content = bytearray(encoded(Image.fromarray(bands(top, np.uint32).view(np.int32)), "TIFF"))
    at = content.find(struct.pack("<HHI", 339, 3, 1))
    if at >= 0:
        content[at + 8 : at + 10] = struct.pack("<H", 1)
    assert_bands(bytes(content))


def test_transparency_of_12_bits_is_scaled_as_colours_are() -> None:
    pixels = bands(4095, np.uint16, 4)
    pixels[..., 3] = 4095
    assert_bands(png16(pixels))
