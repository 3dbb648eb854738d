"""Every image is seen in sRGB, whatever colour space its file is written in."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from product_search.images.decoding import decode
from product_search.images.store import ImageStore
from tests.unit.images.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    encoded_in,
    grey_profile,
    rgb_profile,
)
from tests.unit.pictures import encoded

FILES = Path(__file__).with_name("files")
COLOURS = [(220, 30, 40), (30, 150, 70), (40, 60, 210), (250, 250, 250), (128, 128, 128)]
SPACES = {
    "P3": (DISPLAY_P3, 2.2),
    "Adobe RGB": (ADOBE_RGB, 2.2),
    "linear sRGB": (SRGB, 1.0),
    "sRGB, gamma 1.8": (SRGB, 1.8),
}
WITHIN = 6
KINDS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


def flat(colour: Any, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (48, 48), colour)


def middle(image: Image.Image) -> tuple[int, ...]:
    pixel = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    return pixel


def assert_near(content: bytes, colour: tuple[int, int, int], within: int = WITHIN) -> None:
    seen = decode(content)
    assert seen.mode == "RGB"
    assert np.abs(np.subtract(middle(seen), colour)).max() <= within, middle(seen)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("colour", COLOURS)
def test_a_profile_is_followed(kind: str, space: str, colour: tuple[int, int, int]) -> None:
    primaries, gamma = SPACES[space]
    if gamma == 1.0 and kind in ("JPEG", "AVIF"):
        colour = (200, 190, 180)  # 8 bits of light have few levels for the dark, and lose these
    image = flat(tuple(encoded_in(colour, primaries, gamma)))
    profile = rgb_profile(primaries, gamma)
    assert_near(encoded(image, kind, icc_profile=profile, **KINDS[kind]), colour)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_a_transparent_image_follows_its_profile_too(kind: str) -> None:
    colour = (220, 30, 40)
    image = flat((*encoded_in(colour, DISPLAY_P3, 2.2), 255), "RGBA")
    image.putpixel((0, 0), (0, 0, 0, 0))
    options = {"lossless": True} if kind == "WEBP" else {}
    assert_near(encoded(image, kind, icc_profile=rgb_profile(DISPLAY_P3, 2.2), **options), colour)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_follows_its_profile(kind: str, mode: str) -> None:
    if kind == "JPEG" and mode == "LA":
        mode = "L"  # a JPEG has no transparency
    level = round(255 * (128 / 255) ** (2.2 / 1.0))  # of gamma 1: half as bright in numbers
    image = flat(level if mode == "L" else (level, 255), mode)
    seen = middle(decode(encoded(image, kind, icc_profile=grey_profile(1.0))))
    assert all(abs(one - 128) <= WITHIN for one in seen)


def test_a_grey_image_may_have_a_profile_of_colours() -> None:
    image = flat(round(255 * (128 / 255) ** 2.2), "L")
    assert_near(encoded(image, "JPEG", icc_profile=rgb_profile(SRGB, 1.0)), (128, 128, 128))


def test_a_palette_follows_the_profile() -> None:
    colour = (30, 150, 70)
    image = flat(tuple(encoded_in(colour, ADOBE_RGB, 2.2))).quantize(4)
    assert_near(encoded(image, "PNG", icc_profile=rgb_profile(ADOBE_RGB, 2.2)), colour)


def test_cmyk_follows_its_profile() -> None:
    assert_near((FILES / "icc-3-cmyk.jpg").read_bytes(), (0, 144, 75), within=8)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize("colour", COLOURS)
def test_cmyk_without_a_profile_is_mixed_plainly(kind: str, colour: tuple[int, int, int]) -> None:
    image = flat(colour).convert("CMYK")
    options = {"quality": 95} if kind == "JPEG" else {}
    assert_near(encoded(image, kind, **options), colour)


@pytest.mark.parametrize(
    "profile",
    [b"", b"no profile", rgb_profile(DISPLAY_P3, 2.2)[:200], grey_profile(1.0), bytes(3000)],
    ids=["empty", "text", "cut off", "of grey", "zeros"],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_broken_profile_or_another_images_is_passed_over(kind: str, profile: bytes) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    assert_near(encoded(flat((220, 30, 40)), kind, icc_profile=profile, **options), (220, 30, 40))


def test_a_profile_that_is_sRGB_changes_not_a_single_level() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    seen = decode(encoded(image, "PNG", icc_profile=profile))
    assert seen.tobytes() == image.tobytes()


def test_lab_is_read() -> None:
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    image = ImageCms.applyTransform(flat((220, 30, 40)), to_lab)
    assert image is not None
    assert_near(encoded(image, "TIFF"), (220, 30, 40))


def png_with(colour: tuple[int, ...], *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with chunks put before its pixels."""
    content = encoded(flat(colour), "PNG")
    extra = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return content[:33] + extra + content[33:]


def test_a_png_tells_its_space_by_code_points() -> None:
    numbers = tuple(encoded_in((220, 30, 40), DISPLAY_P3, 2.2))
    assert_near(png_with(numbers, (b"cICP", bytes([12, 13, 0, 1]))), (220, 30, 40))


def test_a_png_tells_its_space_by_gamma_and_primaries() -> None:
    white, red, green, blue = (0.3127, 0.3290), *DISPLAY_P3
    places = [round(100_000 * one) for pair in (white, red, green, blue) for one in pair]
    numbers = tuple(encoded_in((30, 150, 70), DISPLAY_P3, 1.0))
    chunks = (b"gAMA", struct.pack(">I", 100_000)), (b"cHRM", struct.pack(">8I", *places))
    assert_near(png_with(numbers, *chunks), (30, 150, 70))


def test_primaries_that_are_none_are_passed_over() -> None:
    for places in ([0] * 8, [31_270, 32_900, *[33_333] * 6], [2**31 - 1] * 8):
        chunks = (b"gAMA", struct.pack(">I", 45_455)), (b"cHRM", struct.pack(">8I", *places))
        assert_near(png_with((30, 150, 70), *chunks), (30, 150, 70))


def test_a_png_that_says_sRGB_is_that_whatever_its_gamma() -> None:
    chunks = (b"gAMA", struct.pack(">I", 100_000)), (b"sRGB", b"\0")
    assert_near(png_with((30, 150, 70), *chunks), (30, 150, 70))


def test_heic_and_avif_tell_their_space_by_code_points() -> None:
    content = encoded(flat(tuple(encoded_in((220, 30, 40), DISPLAY_P3, 2.2))), "AVIF", quality=95)
    at = content.index(b"colrnclx") + 8
    as_p3 = content[:at] + struct.pack(">HH", 12, 13) + content[at + 4 :]
    assert_near(as_p3, (220, 30, 40), within=8)


def test_what_is_stored_stays_as_it_came_and_the_thumbnail_is_sRGB(tmp_path: Path) -> None:
    image = flat(tuple(encoded_in((220, 30, 40), DISPLAY_P3, 2.2)))
    content = encoded(image, "JPEG", quality=95, icc_profile=rgb_profile(DISPLAY_P3, 2.2))
    store = ImageStore(tmp_path)
    image_hash = store.save_upload(content)
    assert store.original(image_hash).content == content
    thumbnail = Image.open(io.BytesIO(store.thumbnail(image_hash, 64).content))
    assert "icc_profile" not in thumbnail.info
    assert np.abs(np.subtract(middle(thumbnail.convert("RGB")), (220, 30, 40))).max() <= WITHIN


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_turned_image_in_another_space_is_upright_and_sRGB(kind: str, orientation: int) -> None:
    colour = (220, 30, 40)
    image = flat(tuple(encoded_in(colour, DISPLAY_P3, 2.2)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = KINDS[kind] | {"icc_profile": rgb_profile(DISPLAY_P3, 2.2), "exif": exif}
    assert_near(encoded(image.resize((60, 40)), kind, **options), colour)
    assert decode(encoded(image.resize((60, 40)), kind, **options)).size == (
        (40, 60) if orientation >= 5 else (60, 40)
    )


def test_grey_with_a_transparent_level_follows_its_profile() -> None:
    level = round(255 * (128 / 255) ** 2.2)
    image = flat(level, "L")
    content = encoded(image, "PNG", icc_profile=grey_profile(1.0), transparency=7)
    assert all(abs(one - 128) <= WITHIN for one in middle(decode(content)))


def test_the_code_points_of_a_png_stand_above_its_profile() -> None:
    content = encoded(
        flat(tuple(encoded_in((220, 30, 40), DISPLAY_P3, 2.2))),
        "PNG",
        icc_profile=rgb_profile(SRGB, 2.2),
    )
    body = b"cICP" + bytes([12, 13, 0, 1])
    chunk = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
    assert_near(content[:33] + chunk + content[33:], (220, 30, 40))


@pytest.mark.parametrize(("transfer", "white", "grey"), [(16, 0.5806, 0.4266), (18, 0.75, 0.4168)])
def test_bright_displays_have_the_white_of_a_page(transfer: int, white: float, grey: float) -> None:
    """What PQ and HLG write for 203 nits, and for the light of sRGB's 128."""
    for level, seen in ((white, 255), (grey, 128)):
        numbers = (round(255 * level),) * 3
        content = png_with(numbers, (b"cICP", bytes([1, transfer, 0, 1])))
        assert_near(content, (seen, seen, seen))
