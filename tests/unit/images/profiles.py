"""ICC profiles that tests make: of RGB with any primaries and gamma, and of grey."""

from __future__ import annotations

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
D65 = (0.3127, 0.3290)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
Primaries = tuple[tuple[float, float], ...]


def rgb_profile(primaries: Primaries, gamma: float) -> bytes:
    """A matrix profile, version 2, for a D65 display of these primaries and this gamma."""
    columns = to_d50(primaries).T
    tags = [(name, xyz_tag(column)) for name, column in zip(("r", "g", "b"), columns, strict=True)]
    curves = [(name, curve_tag(gamma)) for name in ("r", "g", "b")]
    return profile(
        b"RGB ",
        {f"{name}XYZ": tag for name, tag in tags}
        | {f"{name}TRC": tag for name, tag in curves}
        | {"wtpt": xyz_tag(np.array(D50))},
    )


def grey_profile(gamma: float) -> bytes:
    """A profile of grey with this gamma."""
    return profile(b"GRAY", {"kTRC": curve_tag(gamma), "wtpt": xyz_tag(np.array(D50))})


def encoded_in(colour: tuple[int, int, int], primaries: Primaries, gamma: float) -> list[int]:
    """The sRGB colour in the numbers of another space."""
    levels = np.array(colour) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    others = np.linalg.inv(to_d50(primaries)) @ to_d50(SRGB) @ linear
    return [round(255 * float(one) ** (1 / gamma)) for one in others.clip(0, 1)]


def to_d50(primaries: Primaries) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The matrix from linear RGB to the XYZ of profiles."""
    columns = np.stack([xyz(*one) for one in primaries], axis=1)
    white = xyz(*D65)
    matrix = columns * np.linalg.solve(columns, white)
    scale = (BRADFORD @ np.array(D50)) / (BRADFORD @ white)
    adapted: np.ndarray[tuple[int, int], np.dtype[np.float64]] = (
        np.linalg.inv(BRADFORD) @ np.diag(scale) @ BRADFORD @ matrix
    )
    return adapted


def xyz(x: float, y: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A chromaticity at brightness 1."""
    return np.array([x / y, 1.0, (1 - x - y) / y])


def xyz_tag(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bytes:
    """A tag of one XYZ number."""
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(one * 65536)) for one in values)


def curve_tag(gamma: float) -> bytes:
    """A tag of a curve that is a power."""
    return b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))


def profile(space: bytes, tags: dict[str, bytes]) -> bytes:
    """A display profile of these tags."""
    text = b"made for a test"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + bytes(79)
    tags = {"desc": described, "cprt": b"text\0\0\0\0none\0", **tags}
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        padded = tag + bytes(-len(tag) % 4)
        table += struct.pack(">4sII", name.encode(), start + len(body), len(tag))
        body += padded
    header = struct.pack(
        ">I4sI4s4s4s12s4sIIIIQI3i",
        start + len(body),
        b"none",
        0x02400000,
        b"mntr",
        space,
        b"XYZ ",
        struct.pack(">6H", 2026, 1, 1, 0, 0, 0),
        b"acsp",
        0,
        0,
        0,
        0,
        0,
        0,
        *(round(one * 65536) for one in D50),
    )
    return header.ljust(128, b"\0") + table + body
