"""A JPEG that lacks its end is taken, one that lacks more is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from product_search.errors import InvalidImage
from product_search.images.decoding import decode, image_warnings
from product_search.images.formats import MAX_BYTES
from tests.unit.pictures import encoded, noise

FILES = Path(__file__).with_name("files")
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "optimised": {"optimize": True},
}


def photo(kind: str) -> bytes:
    """Smooth and lively parts, as in a photo."""
    image = noise((40, 30)).resize((640, 480), Image.Resampling.BICUBIC)
    return encoded(image, "JPEG", quality=85, **KINDS[kind])


@pytest.mark.parametrize("name", ["cut-1.jpg", "cut-2.jpg"])
def test_files_without_their_end_are_taken_with_a_warning(name: str) -> None:
    content = (FILES / name).read_bytes()
    assert decode(content).size == (160, 160)
    (warning,) = image_warnings(content)
    assert "不完整" in warning


@pytest.mark.parametrize("missing", [1, 2, 3, 10, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_end_leaves_the_rest_as_it_was(kind: str, missing: int) -> None:
    content = photo(kind)
    whole, cut = np.asarray(decode(content), int), np.asarray(decode(content[:-missing]), int)
    upper = slice(0, 400)
    assert np.abs(whole[upper] - cut[upper]).mean() < 2
    assert image_warnings(content[:-missing])
    assert image_warnings(content) == []


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("kind", KINDS)
def test_one_cut_in_the_middle_is_refused(kind: str, share: float) -> None:
    content = photo(kind)
    with pytest.raises(InvalidImage):
        decode(content[: int(len(content) * share)])


def test_a_grey_image_without_its_end_is_not_taken_for_what_is_missing() -> None:
    grey = Image.new("RGB", (320, 240), (128, 128, 128))
    content = encoded(grey, "JPEG")
    assert decode(content).size == (320, 240)
    assert image_warnings(content) == []


def test_what_follows_the_end_or_lies_in_a_preview_is_no_end() -> None:
    content = photo("baseline")
    assert image_warnings(content + bytes(5000)) == []
    exif = Image.Exif()
    exif[0x010E] = "x"
    preview = encoded(noise((16, 16)), "JPEG")
    tagged = encoded(noise((64, 64)), "JPEG", exif=exif.tobytes() + preview)
    assert image_warnings(tagged) == []
    assert image_warnings(tagged[:-2])


def test_other_formats_that_are_cut_off_are_refused() -> None:
    for kind in ("PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"):
        content = encoded(noise((64, 64)), kind)
        with pytest.raises(InvalidImage):
            decode(content[: len(content) * 9 // 10])
        assert image_warnings(content) == []


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_other_modes_that_are_cut_in_the_middle_are_refused(mode: str, share: float) -> None:
    image = noise((40, 30)).resize((640, 480), Image.Resampling.BICUBIC).convert(mode)
    content = encoded(image, "JPEG", quality=85)
    assert decode(content[:-3]).size == (640, 480)
    with pytest.raises(InvalidImage):
        decode(content[: int(len(content) * share)])


def test_a_file_at_the_limit_without_its_end_is_taken() -> None:
    content = photo("baseline")[:-2]
    padded = content[:2] + b"\xff\xfe\xff\xff" + bytes(65_533) + content[2:]
    while len(padded) + 65_537 <= MAX_BYTES:
        padded = padded[:2] + b"\xff\xfe\xff\xff" + bytes(65_533) + padded[2:]
    rest = MAX_BYTES - len(padded) - 4
    padded = padded[:2] + b"\xff\xfe" + (rest + 2).to_bytes(2, "big") + bytes(rest) + padded[2:]
    assert len(padded) == MAX_BYTES
    assert decode(padded).size == (640, 480)
