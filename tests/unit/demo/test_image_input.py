"""The image that a part is cut from, as it is shown."""

from __future__ import annotations

from product_search.demo.image_input import _small
from tests.unit import pictures
from tests.unit.pictures import encoded, four_colours


def test_an_image_is_shown_small_and_its_own_size_is_known() -> None:
    found = _small(encoded(four_colours(size=(900, 600)), "JPEG"))
    assert found is not None
    shown, size = found
    assert (shown.size, size) == ((300, 200), (900, 600))


def test_a_jpeg_of_too_many_scans_is_not_cut_from() -> None:
    assert _small(pictures.jpeg_of_scans(20)) is not None
    assert _small(pictures.jpeg_of_scans(4_000)) is None


def test_what_is_no_image_is_not_cut_from() -> None:
    assert _small(b"no image") is None
