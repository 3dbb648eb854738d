"""Perceptual hashes: the look of an image in 288 bytes, and how alike two images look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]

SIDE = 16  # what an image is shrunk to
CELLS = 4  # what of its colour is kept, each way
LENGTH = SIDE * SIDE + CELLS * CELLS * 2
_FREQUENCIES = 8  # the lowest frequencies that the hash is made of, each way
_WAVES = np.cos(np.pi / SIDE * np.outer(np.arange(_FREQUENCIES), np.arange(SIDE) + 0.5))  # DCT-II
# A mirrored image has the same cosines, those of odd frequencies from left to right negated.
_ODD = np.packbits(np.arange(_FREQUENCIES * _FREQUENCIES) % 2 == 1)
_MIRROR = np.uint64(int.from_bytes(_ODD.tobytes(), "big"))
_GREY = 4.0  # so much colour is none: differences of less say nothing
# Parts of an image, along one side: their shares of it, and how many of each.
_SHARES = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85)
_STARTS = 4


def perceptual_hash(image: Image.Image) -> bytes:
    """Return LENGTH bytes: brightness in SIDE × SIDE, then two colours in CELLS × CELLS."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX).convert("YCbCr")
    pixels = np.asarray(small, np.float32)
    cell = SIDE // CELLS
    colours = pixels[..., 1:].reshape(CELLS, cell, CELLS, cell, 2).mean(axis=(1, 3))
    values = np.concatenate([pixels[..., 0].ravel(), colours.round().ravel()])
    return bytes(values.astype(np.uint8))


@dataclass(frozen=True)
class PerceptualHashes:
    """Perceptual hashes of n images, as arrays.

    Attributes:
        brightness: uint8 (n, SIDE, SIDE).
        signs: uint64 (n,), the signs of the brightness's lowest 64 frequencies.
        colours: float32 (n, CELLS, CELLS, 2), 0 for grey.
    """

    brightness: NDArray[np.uint8]
    signs: Hashes
    colours: Floats

    @classmethod
    def parse(cls, hashes: Sequence[bytes]) -> PerceptualHashes:
        """Read results of `perceptual_hash`, in their order."""
        values = np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), LENGTH)
        brightness = values[:, : SIDE * SIDE].reshape(-1, SIDE, SIDE)
        colours = values[:, SIDE * SIDE :].reshape(-1, CELLS, CELLS, 2).astype(np.float32) - 128
        return cls(brightness, _signs(brightness), colours)


def _signs(brightness: NDArray[np.uint8]) -> Hashes:
    means = brightness.mean(axis=(1, 2), keepdims=True)
    cosines = _WAVES @ (brightness - means) @ _WAVES.T
    bits = np.packbits((cosines > 0).reshape(len(brightness), _FREQUENCIES * _FREQUENCIES), axis=1)
    return np.asarray(bits.view(">u8").reshape(-1), np.uint64)


def differing_bits(first: Hashes, second: Hashes) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Count the bits, of 64, in which images differ: n images by m images.

    Each pair is compared as it is and with one image mirrored; the smaller count stands. The
    second array (n, m) tells where that is the mirrored one's.
    """
    plain = np.bitwise_count(first[:, None] ^ second[None])
    mirrored = np.bitwise_count((first ^ _MIRROR)[:, None] ^ second[None])
    return np.minimum(plain, mirrored), mirrored < plain


def colour_distances(
    hashes: PerceptualHashes, first: Places, second: Places, mirrored: NDArray[np.bool_]
) -> Floats:
    """Return (n,) distances of pairs: 0 for the same colours in the same places, 1 for opposite."""
    ours, theirs = hashes.colours[first], hashes.colours[second]
    theirs = np.where(mirrored[:, None, None, None], theirs[:, :, ::-1], theirs)

    def size(colours: Floats) -> Floats:
        return np.asarray(np.sqrt((colours**2).sum(axis=-1).mean(axis=(1, 2))), np.float32)

    return size(ours - theirs) / (size(ours) + size(theirs) + np.float32(_GREY))


def part_correlation(hashes: PerceptualHashes, first: int, second: int) -> float:
    """Return how well the best part of one image fits the whole other image, up to 1.

    Parts are at least 0.85 of the image each way; mirror images are tried too.
    """
    one, other = hashes.brightness[first], hashes.brightness[second]
    fits = [
        _fit(one, other),
        _fit(one, other[:, ::-1]),
        _fit(other, one),
        _fit(other, one[:, ::-1]),
    ]
    return max(fits)


def _fit(whole: NDArray[np.uint8], part: NDArray[np.uint8]) -> float:
    cuts = _cuts()
    flat = cuts.reshape(-1, SIDE)
    parts = (flat @ whole.astype(np.float32) @ flat.T).reshape(len(cuts), SIDE, len(cuts), SIDE)
    windows = parts.transpose(0, 2, 1, 3).reshape(-1, SIDE * SIDE)
    wanted = part.astype(np.float32).ravel()
    wanted = wanted - wanted.mean()
    spread = np.sqrt(np.maximum((windows**2).mean(axis=1) - windows.mean(axis=1) ** 2, 0)) * SIDE
    best = (windows @ wanted) / (spread * np.linalg.norm(wanted) + 1e-6)
    return float(best.max())


@cache
def _cuts() -> Floats:
    """Return (k, SIDE, SIDE) matrices that scale each of k parts of a row up to its SIDE pixels."""
    cuts = []
    for share in _SHARES:
        for start in np.linspace(0, 1 - share, _STARTS if share < 1 else 1):
            edges = (start + share * np.arange(SIDE + 1) / SIDE) * SIDE
            low, high = edges[:-1, None], edges[1:, None]
            pixels = np.arange(SIDE)[None]
            covered = np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, None)
            cuts.append(covered / covered.sum(axis=1, keepdims=True))
    return np.array(cuts, np.float32)
