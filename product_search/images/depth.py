"""Pixels of more than 8 bits, scaled by their range to 8."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]
_BITS_PER_SAMPLE = 258  # TIFF's tag
_ROWS = 256  # at a time: a copy of the whole image in floats would take many times its memory
_FLOAT_RANGES = (1.0, 255.0, 65_535.0)  # what brightness is written in as floating-point numbers


def is_deep(image: Image.Image) -> bool:
    """Whether the decoded image is grey with more than 8 bits a pixel."""
    return image.mode == "F" or image.mode.startswith("I")


def to_8_bits(image: Image.Image) -> Image.Image:
    """Return the deep grey image in mode L, its range scaled to 0 to 255.

    Whole numbers are taken as 16 bits, or as 12 or 10 in 16 where none is larger, or as the bits
    that a TIFF states. Floating-point numbers go from 0 to 1, 255 or 65,535, whichever holds them,
    else from their least to their largest; what is no number is black.
    """
    pixels = np.asarray(image)
    low, high = _float_range(pixels) if image.mode == "F" else (0.0, _top(pixels, image))
    scaled = np.empty(pixels.shape, np.uint8)
    for at in range(0, len(pixels), _ROWS):
        rows = np.nan_to_num(pixels[at : at + _ROWS].astype(np.float32), posinf=high, neginf=low)
        scaled[at : at + _ROWS] = ((rows - low) * (255 / (high - low))).clip(0, 255).round()
    return Image.fromarray(scaled)


def _top(pixels: Pixels, image: Image.Image) -> float:
    largest = int(pixels.max(initial=0))
    stated = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))
    bits = stated[0] if isinstance(stated, tuple) and stated else 16
    if not isinstance(bits, int) or not 8 < bits <= 16 or largest >= 1 << bits:
        bits = 16
    if bits == 16 and largest < 1 << 12 and _is_unscaled(pixels):
        bits = 10 if largest < 1 << 10 else 12
    return float(max((1 << bits) - 1, largest))


def _is_unscaled(pixels: Pixels) -> bool:
    """Not 8 bits widened to 16, each of which is a multiple of 257."""
    return bool((pixels % 257).any())


def _float_range(pixels: Pixels) -> tuple[float, float]:
    finite = pixels[np.isfinite(pixels)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if low >= 0:
        for top in _FLOAT_RANGES:
            if high <= top:
                return 0.0, top
    return (low, high) if high > low else (low, low + 1.0)


def low_bits(image: Image.Image, content: bytes, tiles: list[Any]) -> Image.Image:
    """Return the 16-bit colour image scaled by its range, where Pillow kept nothing but zeros.

    Of 16 bits Pillow keeps the upper 8: of 12 bits in 16 only four would be left. The lower ones
    come by reading the file once more with its bytes taken in the other order.

    Args:
        image: the loaded image, of mode RGB, RGBA or LA.
        content: the file.
        tiles: what `image.tile` was before it was loaded.
    """
    swapped = [_swapped(tile) for tile in tiles]
    if not swapped or None in swapped or max(high for _, high in _extrema(image)) >= 16:
        return image
    lower = Image.open(io.BytesIO(content), formats=[str(image.format)])
    lower.tile = [tile for tile in swapped if tile is not None]
    try:
        lower.load()
    except ValueError:  # Pillow reads these samples in one order alone
        return image
    pixels = np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)
    colours = pixels if image.mode == "RGB" else pixels[..., :-1]
    if not _is_unscaled(colours):
        return image
    top = 1023 if colours.max() < 1024 else 4095
    scaled = np.asarray(image).copy()
    scaled[..., : colours.shape[-1]] = (colours * (255 / top)).round()
    return Image.fromarray(scaled, image.mode)


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
