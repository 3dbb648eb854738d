"""Pictures decoded to RGB: first frame, upright, over white; and those that are refused."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given, strategies as st
from PIL import Image

from product_search.errors import AppError, ImageTooLarge, ImageTooManyPixels, InvalidImage
from product_search.images.decoding import MAX_DECODED_SIDE, decode, from_base64
from product_search.images.formats import MAX_BYTES
from tests.unit import pictures
from tests.unit.pictures import COLOURS, SIZE, encoded, four_colours

GOOD = pictures.good_images()
BAD = pictures.bad_images()
# Lossy formats and palettes move a colour a little.
TOLERANCE = 40


def pixel(image: Image.Image, x: float, y: float) -> tuple[int, ...]:
    """The colour at a place given as fractions of the width and the height."""
    colour = image.getpixel((int(x * image.width), int(y * image.height)))
    assert isinstance(colour, tuple)
    return colour


def assert_close(colour: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    distance = max(abs(a - b) for a, b in zip(colour, wanted, strict=True))
    assert distance <= TOLERANCE, f"{colour} is not {wanted}"


def assert_four_colours(image: Image.Image) -> None:
    for place, colour in enumerate(COLOURS):
        assert_close(pixel(image, 0.25 + place % 2 / 2, 0.25 + place // 2 / 2), colour)


@pytest.mark.parametrize("name", GOOD)
def test_every_kind_of_image_becomes_rgb(name: str) -> None:
    image = decode(GOOD[name])
    assert image.mode == "RGB"
    assert max(image.size) <= MAX_DECODED_SIDE
    assert min(image.size) >= 1


@pytest.mark.parametrize(
    "name",
    [
        "jpeg",
        "progressive jpeg",
        "cmyk jpeg",
        "png",
        "palette png",
        "animated png",
        "gif",
        "animated gif",
        "webp",
        "animated webp",
        "bmp",
        "tiff",
    ],
)
def test_the_first_frame_keeps_its_colours(name: str) -> None:
    image = decode(GOOD[name])
    assert image.size == SIZE
    assert_four_colours(image)


@pytest.mark.parametrize(
    "name", ["rgba png", "la png", "palette png with alpha", "webp with alpha"]
)
def test_transparency_is_laid_over_white(name: str) -> None:
    image = decode(GOOD[name])
    assert_close(pixel(image, 0.75, 0.5), (255, 255, 255))
    assert pixel(image, 0.25, 0.5) != (255, 255, 255)


def test_exif_turns_the_image_upright() -> None:
    image = decode(pictures.rotated_by_exif())
    assert image.size == (SIZE[1], SIZE[0])
    red, green, blue, yellow = COLOURS
    assert_close(pixel(image, 0.25, 0.25), blue)
    assert_close(pixel(image, 0.75, 0.25), red)
    assert_close(pixel(image, 0.25, 0.75), yellow)
    assert_close(pixel(image, 0.75, 0.75), green)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")  # Pillow's own remark
def test_corrupt_exif_does_not_matter() -> None:
    image = decode(pictures.with_corrupt_exif())
    assert image.size == SIZE
    assert_four_colours(image)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    image = decode(pictures.sixteen_bit_grey())
    assert_close(pixel(image, 0.25, 0.5), (26, 26, 26))
    assert_close(pixel(image, 0.75, 0.5), (204, 204, 204))


def test_a_float_image_keeps_its_brightness() -> None:
    image = decode(pictures.float_tiff())
    assert_close(pixel(image, 0.5, 0), (0, 0, 0))
    assert_close(pixel(image, 0.5, 0.99), (253, 253, 253))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_image_comes_shrunk_with_its_proportions(kind: str) -> None:
    image = decode(encoded(four_colours(size=(3000, 1500)), kind))
    assert image.size == (1024, 512)
    assert_four_colours(image)


@pytest.mark.parametrize("name", BAD)
def test_bytes_that_are_no_whole_image_are_refused(name: str) -> None:
    with pytest.raises(InvalidImage):
        decode(BAD[name])


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (pictures.over_ten_megabytes(), ImageTooLarge),
        (bytes(MAX_BYTES + 1), ImageTooLarge),
        (pictures.bomb_header(), ImageTooManyPixels),
        (pictures.bomb_header(40_000_001, 1), ImageTooManyPixels),
        (pictures.bomb_header(2**31 - 1, 2**31 - 1), ImageTooManyPixels),
        (pictures.bomb_whole(), ImageTooManyPixels),
        (pictures.gif_with_frame_beyond_its_screen(), ImageTooManyPixels),
    ],
    ids=["10MB", "zeros", "header", "one line", "huge", "whole", "gif frame"],
)
def test_an_image_that_is_too_much_is_refused_before_it_is_decoded(
    content: bytes, error: type[AppError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_image: Image.Image) -> None:
        raise AssertionError("the picture was decoded")

    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(error) as caught:
        decode(content)
    assert type(caught.value) is error


def test_forty_megapixels_are_allowed() -> None:
    content = encoded(Image.new("1", (8_000, 5_000), 1), "PNG", optimize=True)
    assert decode(content).size == (1024, 640)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_as_no_image(content: bytes) -> None:
    with pytest.raises(InvalidImage):
        decode(content)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own remarks on broken tags
@given(st.data())
def test_a_damaged_image_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    whole = GOOD[data.draw(st.sampled_from(["jpeg", "png", "gif", "webp", "bmp", "tiff"]))]
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidImage, ImageTooManyPixels):
        assert decode(bytes(content)).mode == "RGB"


@given(st.binary(max_size=100))
def test_base64_comes_bare_or_as_a_data_uri_or_in_lines(content: bytes) -> None:
    text = base64.b64encode(content).decode()
    assert from_base64(text) == content
    assert from_base64(f"data:image/png;base64,{text}") == content
    assert from_base64(f"DATA:;charset=utf-8;BASE64,{text}") == content
    assert from_base64(base64.encodebytes(content).decode()) == content


@pytest.mark.parametrize(
    "text",
    [
        "不是",
        "a",
        "====",
        "AA",
        "A-_A",
        "data:image/png,AAAA",
        "http://x/y.png",
        "\x00",
        "AA==AA==",
    ],
)
def test_a_text_that_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidImage):
        from_base64(text)


def test_a_base64_text_that_is_too_long_is_not_even_decoded() -> None:
    with pytest.raises(ImageTooLarge):
        from_base64("A" * (2 * MAX_BYTES))


def test_pillow_does_not_warn_of_large_images_by_its_own_limits() -> None:
    assert Image.MAX_IMAGE_PIXELS is None
    decode(GOOD["png"])
    assert Image.MAX_IMAGE_PIXELS is None
