"""Colours as a person sees them: from an image's own colour space to sRGB."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Floats = NDArray[np.floating[Any]]
Curve = Callable[[Floats], Floats]  # levels of 0 to 1 -> light of 0 to 1
Primaries = tuple[float, ...]  # x, y of red, green, blue and white
Space = tuple[Primaries, Curve]
Info = Mapping[Any, Any]  # what Pillow tells of a file
# ICC's name of a profile's colour space, and the mode of the images that the profile describes.
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
_PROFILE_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError)
_KEPT_BYTES = 1_000_000  # of a profile; those of presses have half of it
_UNNOTICED = 2  # of 255: a profile that changes no colour by more is sRGB by another name
# ITU-T H.273, "coding-independent code points": x, y of red, green, blue and white.
_D65 = (0.3127, 0.3290)
_PRIMARIES = {
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),  # BT.2020
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),  # DCI-P3
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),  # Display P3
}
_SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *_D65)
_SRGB_GAMMA = 1 / 2.2
_ROWS = 128  # at a time
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def to_srgb(image: Image.Image, name: str, content: bytes) -> Image.Image:
    """Return the image in sRGB: RGB, or RGBA where it has transparency.

    Args:
        image: a decoded image of mode L, LA, RGB, RGBA, CMYK, YCbCr or LAB.
        name: the format of its file, as Pillow calls it.
        content: the file, for what Pillow does not tell of it.

    Its ICC profile counts first, then the code points of HEIF, AVIF and PNG, then the gamma and
    primaries of a PNG. A profile that is broken, or of another kind of image, is passed over.
    """
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    opaque = image.convert(image.mode[:-1]) if alpha is not None else image
    colours = _convert(opaque, image.info, name, content)
    if alpha is not None:
        colours.putalpha(alpha)
    return colours


def _convert(opaque: Image.Image, info: Info, name: str, content: bytes) -> Image.Image:
    profile = info.get("icc_profile")
    if name == "PNG" and _code_points(name, content) is not None:
        profile = None  # which these stand above
    if profile and (converted := _by_profile(opaque, bytes(profile))) is not None:
        return converted
    if opaque.mode == "LAB":
        return _lab_to_rgb(opaque)
    plain = _rgb(opaque)
    if profile:
        return plain
    space = _declared_space(info, name, content)
    return plain if space is None else _apply_space(plain, *space)


def _rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    return _applied(image, transform)


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Convert by the ICC profile; None where it does not fit the image or is broken."""
    try:
        mode, transform = _transform(profile)
        fitting = image.convert("RGB") if mode == "RGB" and image.mode in ("L", "YCbCr") else image
        if mode != fitting.mode:
            return None
        return _applied(fitting, transform) if transform else _rgb(fitting)
    except _PROFILE_ERRORS:
        return None


def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Return what `_build_transform` does, kept for profiles of an ordinary size."""
    return (_kept_transform if len(profile) <= _KEPT_BYTES else _build_transform)(profile)


def _build_transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Return the mode that the profile describes, and its way to sRGB: None where it is sRGB.

    Raises PyCMSError, OSError, KeyError for a profile that can't be used.
    """
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = opened.profile.xcolor_space
    if space not in _MODES:
        raise ValueError(f"no images have the colour space {space!r}")
    mode = _MODES[space]
    transform = ImageCms.buildTransform(
        opened, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.PERCEPTUAL
    )
    if mode in ("RGB", "L") and _changes_nothing(transform, mode):
        return mode, None
    return mode, transform


_kept_transform = lru_cache(maxsize=16)(_build_transform)


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    if mode == "L":
        probe = Image.fromarray(steps[None])
    else:
        grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(9, 81, 3)
        probe = Image.fromarray(grid)
    after = np.asarray(_applied(probe, transform), np.int16)
    return bool(np.abs(after - np.asarray(probe.convert("RGB"), np.int16)).max() <= _UNNOTICED)


def _applied(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # nothing is converted in place
    return converted


def _declared_space(info: Info, name: str, content: bytes) -> Space | None:
    """Return the space that a file states without a profile; None for sRGB."""
    points = _code_points(name, content)
    if points is not None:
        primaries, transfer = points
        if primaries not in _PRIMARIES and transfer not in _CURVES:
            return None
        return _PRIMARIES.get(primaries, _SRGB_PRIMARIES), _CURVES.get(transfer, _srgb_to_linear)
    stated = info.get("gamma")
    if "srgb" in info or not isinstance(stated, float) or not 0.1 < stated < 10:
        return None
    chromaticity = _png_primaries(info.get("chromaticity"))
    if abs(stated - _SRGB_GAMMA) < 0.02:
        return None if chromaticity == _SRGB_PRIMARIES else (chromaticity, _srgb_to_linear)
    return chromaticity, partial(_power, exponent=1 / stated)


def _png_primaries(chromaticity: object) -> Primaries:
    """Return ours of Pillow's, which begin with white; sRGB's where these are none."""
    if not isinstance(chromaticity, tuple) or len(chromaticity) != 8:
        return _SRGB_PRIMARIES
    ours = (*chromaticity[2:], *chromaticity[:2])
    near = all(abs(a - b) < 0.002 for a, b in zip(ours, _SRGB_PRIMARIES, strict=True))
    sane = all(0 < one < 1 for one in ours)
    return ours if sane and not near else _SRGB_PRIMARIES


def _code_points(name: str, content: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer characteristics as code points of H.273."""
    if name in ("AVIF", "HEIF"):
        at = content.find(b"colrnclx")
        if 0 <= at <= len(content) - 12:
            return struct.unpack(">HH", content[at + 8 : at + 12])
    if name == "PNG":
        at = content.find(b"\x00\x00\x00\x04cICP")
        if 0 <= at <= len(content) - 12:
            return content[at + 8], content[at + 9]
    return None


def _apply_space(image: Image.Image, primaries: Primaries, curve: Curve) -> Image.Image:
    """Convert RGB of these primaries, encoded by this curve, to sRGB."""
    try:
        matrix = np.linalg.inv(_to_xyz(_SRGB_PRIMARIES)) @ _to_xyz(primaries)
    except np.linalg.LinAlgError:  # no three primaries: what a broken file states
        return image
    decoded = curve(np.arange(256) / 255).astype(np.float32)
    converted = Image.new("RGB", image.size)
    for top in range(0, image.height, _ROWS):
        strip = image.crop((0, top, image.width, min(top + _ROWS, image.height)))
        linear = decoded[np.asarray(strip)] @ matrix.T.astype(np.float32)
        levels = _linear_to_srgb(linear.clip(0, 1)) * 255
        converted.paste(Image.fromarray(levels.round().astype(np.uint8)), (0, top))
    return converted


def _to_xyz(primaries: Primaries) -> Floats:
    """Return the matrix from linear RGB to XYZ under D65."""

    def xyz(x: float, y: float) -> Floats:
        return np.array([x / y, 1.0, (1 - x - y) / y])

    columns = np.stack([xyz(*primaries[at : at + 2]) for at in (0, 2, 4)], axis=1)
    white, d65 = xyz(*primaries[6:]), xyz(*_D65)
    matrix = columns * np.linalg.solve(columns, white)
    scale = (_BRADFORD @ d65) / (_BRADFORD @ white)
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD @ matrix)


def _linear_to_srgb(levels: Floats) -> Floats:
    return np.where(levels <= 0.0031308, levels * 12.92, 1.055 * levels ** (1 / 2.4) - 0.055)


def _srgb_to_linear(levels: Floats) -> Floats:
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def _power(levels: Floats, exponent: float) -> Floats:
    return np.asarray(levels**exponent)


def _pq_to_linear(levels: Floats) -> Floats:
    """SMPTE ST 2084, where 203 of its 10,000 nits are the white of a page (ITU-R BT.2408)."""
    powered = levels ** (1 / 78.84375)
    ratio = np.maximum(powered - 0.8359375, 0) / (18.8515625 - 18.6875 * powered)
    return np.asarray(np.minimum(ratio ** (1 / 0.15930175781) * 10_000 / 203, 1.0))


def _hlg_to_linear(levels: Floats) -> Floats:
    """ARIB STD-B67, where three quarters of the signal are the white of a page (ITU-R BT.2408)."""
    upper = (np.exp((levels - 0.55991073) / 0.17883277) + 0.28466892) / 12
    linear = np.where(levels <= 0.5, levels**2 / 3, upper)
    return np.asarray(np.minimum(linear / 0.2649, 1.0))


# By H.273's transfer characteristics; all others are close to sRGB's.
_CURVES: dict[int, Curve] = {
    4: partial(_power, exponent=2.2),
    5: partial(_power, exponent=2.8),
    8: partial(_power, exponent=1.0),
    16: _pq_to_linear,
    17: partial(_power, exponent=2.6),
    18: _hlg_to_linear,
}
