"""Damaged pictures of every format: read as a picture, or refused with a documented error."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from product_search.errors import AppError
from product_search.images.cleaning.cleaner import clean
from product_search.images.decoding import MAX_DECODED_SIDE, decode, image_warnings
from product_search.images.formats import MEDIA_TYPES, media_type, readers
from product_search.images.processes.messages import Region
from tests.fuzz.inputs import FEW, at_most, damaged
from tests.unit.pictures import bad_images, encoded, four_colours, good_images
from tests.unit.telling import TELLING

FILES = Path(__file__).parents[1] / "unit" / "images" / "files"
CODES = {
    *("invalid_image", "region_outside_image"),
    *("image_too_many_pixels", "image_too_large", "image_too_complex"),
}
# Wholes of 30,000 × 1 pixels are slow, and show nothing that others don't.
SMALL = {name: content for name, content in good_images().items() if "30000" not in name}
SECONDS, MEGABYTES = 20, 400


def wholes() -> dict[str, bytes]:
    """Small pictures of every format, by what is special about them."""
    readers()
    made = {kind: encoded(four_colours(), kind) for kind in ("AVIF", "JXL")}
    found = {path.name: path.read_bytes() for path in sorted(FILES.iterdir())}
    return SMALL | made | {n: c for n, c in found.items() if len(c) < 60_000} | bad_images()


WHOLES = wholes()
regions = st.none() | st.tuples(
    *[st.integers(0, 60)] * 2, *[st.integers(1, 60) | st.just(100_000)] * 2
)


def is_read_or_refused(content: bytes, region: Region | None = None) -> None:
    try:
        image = decode(content, region)
    except AppError as error:
        refused = error.code
    else:
        assert image.mode == "RGB"
        assert 1 <= max(image.size) <= MAX_DECODED_SIDE
        assert isinstance(image_warnings(content), list)
        assert media_type(content) in MEDIA_TYPES.values()
        return
    assert refused in CODES


@pytest.mark.filterwarnings("ignore")  # Pillow's own remarks on broken files
@settings(FEW, max_examples=400)
@given(damaged([*WHOLES.values()]), regions)
def test_a_damaged_picture_is_read_or_refused(content: bytes, region: Region | None) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with at_most(SECONDS):
        is_read_or_refused(content, region)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown <= MEGABYTES * 1024


@pytest.mark.filterwarnings("ignore")
@settings(FEW, max_examples=400)
@given(damaged([*WHOLES.values(), *(tell() for tell in TELLING.values())]))
def test_a_damaged_picture_is_shown_as_it_is_seen(content: bytes) -> None:
    try:
        seen = decode(content)
    except AppError:
        return
    shown = clean(content, media_type(content))
    assert shown is None or decode(shown).tobytes() == seen.tobytes()


def test_each_format_is_among_what_is_damaged() -> None:
    kinds = [media_type(content) for name, content in WHOLES.items() if name not in bad_images()]
    assert {*kinds} == {*MEDIA_TYPES.values()}
