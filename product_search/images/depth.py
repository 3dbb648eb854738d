"""Pixels of more than 8 bits, scaled by their range to 8."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]
# TIFF's tags, and what they say.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2
_STRIP_PIXELS = 100_000  # at a time: numbers take many times the memory of the image
_SAMPLE = 200_000  # pixels by which the range of floating-point numbers is judged
_FLOAT_RANGES = (1.0, 255.0, 65_535.0)  # what brightness is written in as floating-point numbers
_OVERSHOOT = 0.05  # of a range: what sharpening and resampling leave beyond its ends
_KEPT_BITS = 16  # what the upper 8 of 16 bits are below where only 12 bits are used


def is_deep(image: Image.Image) -> bool:
    """Tell whether the decoded image is grey with more than 8 bits a pixel."""
    return image.mode == "F" or image.mode.startswith("I")


def to_8_bits(image: Image.Image) -> Image.Image:
    """Return the deep grey image in mode L, its range scaled to 0 to 255.

    Whole numbers are taken as 16 bits, or as 12 or 10 in 16 where none is larger, or as the bits
    that a TIFF states. Floating-point numbers go from 0 to 1, 255 or 65,535, whichever holds them
    but for a little, else from their least to their largest; what is no number is black.
    """
    low, high = _float_range(image) if image.mode == "F" else _integer_range(image)
    scaled = Image.new("L", image.size)
    is_negative = _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO
    for top, rows in _strips(image):
        numbers = np.nan_to_num(rows.astype(np.float32), posinf=high, neginf=low)
        with np.errstate(over="ignore"):  # what is infinitely far above is white all the same
            scale = ((numbers - low) * (255 / (high - low))).clip(0, 255)
        levels = scale.round().astype(np.uint8)
        scaled.paste(Image.fromarray(255 - levels if is_negative else levels), (0, top))
    return scaled


def low_bits(image: Image.Image, content: bytes, tiles: list[Any]) -> Image.Image:
    """Return the 16-bit colour image scaled by its range, where Pillow kept nothing but zeros.

    Of 16 bits Pillow keeps the upper 8: of 12 bits in 16 only four would be left. The lower ones
    come by reading the file once more with its bytes taken in the other order.

    Args:
        image: the loaded image, of mode RGB, RGBA or LA; changed in place where it is scaled.
        content: the file.
        tiles: what `image.tile` was before it was loaded.
    """
    swapped = [_swapped(tile) for tile in tiles]
    if not swapped or None in swapped or max(high for _, high in _extrema(image)) >= _KEPT_BITS:
        return image
    lower = Image.open(io.BytesIO(content), formats=[str(image.format)])
    lower.tile = [tile for tile in swapped if tile is not None]
    try:
        lower.load()
    except ValueError:  # Pillow reads these samples in one order alone
        return image
    largest, is_widened = _joined_range(image, lower)
    if is_widened:
        return image
    count = len(_extrema(image))
    colours = 1023 if max(largest[:count]) < 1024 else 4095
    alpha = [4095 if one < 4096 else 65_535 for one in largest[count:]]
    tops = [colours] * count + alpha
    for top, pixels in _joined_strips(image, lower):
        levels = (pixels * (255 / np.array(tops))).round().astype(np.uint8)
        image.paste(Image.fromarray(levels, image.mode), (0, top))
    return image


def _strips(image: Image.Image) -> Iterator[tuple[int, Pixels]]:
    """Yield rows of the image as numbers, each with the place of its first."""
    count = max(_STRIP_PIXELS // image.width, 1)
    for top in range(0, image.height, count):
        strip = image.crop((0, top, image.width, min(top + count, image.height)))
        rows = np.asarray(strip)
        is_unsigned = image.mode == "I" and _tag(image, _SAMPLE_FORMAT) in (None, 1)
        yield top, rows.view(np.uint32) if is_unsigned and _bits(image) == 32 else rows


def _integer_range(image: Image.Image) -> tuple[float, float]:
    """Return what is black and what is white."""
    least, largest, is_widened = 0, 0, True
    for _, rows in _strips(image):
        least, largest = min(least, int(rows.min())), max(largest, int(rows.max()))
        is_widened = is_widened and not (rows % 257).any()  # 8 bits widened to 16
    bits = _bits(image) or 16
    if bits == 32:
        tops = (255, 65_535)
        high = next((one for one in tops if largest <= one), (1 << 32) - 1)
        return float(min(least, 0)), float(high)
    if _tag(image, _SAMPLE_FORMAT) == _SIGNED:
        return (-32_768.0 if least < 0 else 0.0), 32_767.0
    if not 8 < bits <= 16 or largest >= 1 << bits:
        bits = 16
    if bits == 16 and largest < 1 << 12 and not is_widened:
        bits = 10 if largest < 1 << 10 else 12
    return float(min(least, 0)), float(max((1 << bits) - 1, largest))


def _bits(image: Image.Image) -> int | None:
    stated = _tag(image, _BITS_PER_SAMPLE)
    return int(stated[0]) if isinstance(stated, tuple) and stated else None


def _tag(image: Image.Image, tag: int) -> Any:
    value = getattr(image, "tag_v2", {}).get(tag)
    if isinstance(value, tuple) and len(value) == 1 and tag != _BITS_PER_SAMPLE:
        return value[0]
    return value


def _float_range(image: Image.Image) -> tuple[float, float]:
    """Return what is black and what is white; some pixels beyond a known range do not count."""
    step = max(image.width * image.height // _SAMPLE, 1)
    sample = np.concatenate([rows.ravel()[::step].copy() for _, rows in _strips(image)])
    finite = sample[np.isfinite(sample)]
    if not finite.size:
        return 0.0, 1.0
    # In float64: between the ends of float32 there is more than it holds.
    low, high = (float(one) for one in np.percentile(finite.astype(np.float64), [0.1, 99.9]))
    for top in _FLOAT_RANGES:
        if low >= -_OVERSHOOT * high and high <= (1 + _OVERSHOOT) * top:
            return 0.0, top
    return (low, high) if high > low else (low, low + 1.0)


def _joined_strips(upper: Image.Image, lower: Image.Image) -> Iterator[tuple[int, Pixels]]:
    for (top, high), (_, low) in zip(_strips(upper), _strips(lower), strict=True):
        yield top, high.astype(np.int32) << 8 | low


def _joined_range(upper: Image.Image, lower: Image.Image) -> tuple[list[int], bool]:
    """Return the largest number of each channel, and whether all are 8 bits widened to 16."""
    largest = np.zeros(len(upper.getbands()), int)
    is_widened = True
    for _, pixels in _joined_strips(upper, lower):
        largest = np.maximum(largest, pixels.max(axis=(0, 1)))
        is_widened = is_widened and not (pixels[..., : len(_extrema(upper))] % 257).any()
    return [int(one) for one in largest], is_widened


def _swapped(tile: Any) -> Any:
    """Return the tile with the bytes of 16-bit samples in the other order; None for others."""
    first, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
    if not isinstance(first, str) or first[-4:-1] != ";16":
        return None
    other = first[:-1] + ("L" if first[-1] == "B" else "B")
    return tile._replace(args=(other, *rest) if isinstance(tile.args, tuple) else other)


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    """Least and largest level of each colour, without alpha."""
    bands: Any = image.getextrema()
    colours = [bands] if image.getbands() == ("L",) else bands
    return list(colours[:-1] if image.getbands()[-1] == "A" else colours)
