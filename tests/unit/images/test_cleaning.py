"""Clean pictures: the same pixels, and nothing that the file told besides."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import pytest
from PIL import Image

from product_search.images.cleaning.cleaner import clean
from product_search.images.decoding import decode
from product_search.images.formats import media_type, readers
from product_search.images.provenance import as_png, mark, says_generated
from tests.unit.pictures import (
    encoded,
    four_colours,
    gif_of_remarks,
    good_images,
    jpeg_of_segments,
    noise,
)
from tests.unit.telling import (
    ORIENTATION,
    PROFILE,
    SECRET,
    TELLING,
    chunk,
    exif,
    frames,
    png,
    webp,
    xmp,
)

STILL = ["jpeg", "png", "webp"]
SHOWN_AS_THEY_ARE = ("image/jpeg", "image/png", "image/webp", "image/gif")


def cleaned(content: bytes) -> bytes:
    found = clean(content, media_type(content))
    assert found is not None
    return found


@pytest.mark.parametrize("name", TELLING)
def test_nothing_is_told_but_the_picture(name: str) -> None:
    told = TELLING[name]()
    shown = cleaned(told)
    assert SECRET in told
    assert b"script" not in shown
    assert SECRET[-2:] not in shown.replace(PROFILE, b"")
    assert frames(shown) == frames(told)
    assert cleaned(shown) == shown


@pytest.mark.parametrize("name", STILL)
def test_what_shows_the_picture_stays(name: str) -> None:
    told = TELLING[name]()
    shown = cleaned(told)
    image = Image.open(io.BytesIO(shown))
    assert image.info["icc_profile"] == PROFILE
    assert dict(image.getexif()) == {0x0112: ORIENTATION}
    assert decode(shown).tobytes() == decode(told).tobytes()
    assert decode(shown).size == (four_colours().height, four_colours().width)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_turn_of_a_picture_is_kept(kind: str, turn: int) -> None:
    told = Image.Exif()
    told[0x0112], told[0x010F] = turn, "Make"
    content = encoded(four_colours(), kind, exif=told)
    assert decode(cleaned(content)).tobytes() == decode(content).tobytes()
    assert b"Make" not in cleaned(content)


def test_a_turn_that_stands_in_a_text_is_kept_too() -> None:
    turned = b'<x tiff:Orientation="8"/>'
    plain = encoded(four_colours(), "PNG")
    content = plain[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + turned) + plain[33:]
    assert decode(content).size == (32, 48)
    assert decode(cleaned(content)).tobytes() == decode(content).tobytes()


def test_a_gif_is_shown_as_often_as_before() -> None:
    shown = Image.open(io.BytesIO(cleaned(TELLING["gif"]())))
    assert (shown.info["loop"], getattr(shown, "n_frames", 1)) == (3, 2)
    assert b"ICCRGBG1012" in cleaned(TELLING["gif"]())


@pytest.mark.parametrize("name", sorted(good_images()))
def test_a_picture_that_tells_nothing_stays_as_it_is(name: str) -> None:
    content = good_images()[name]
    kind = media_type(content)
    assert clean(content, kind) == (content if kind in SHOWN_AS_THEY_ARE else None)


def test_the_preview_of_a_jpeg_goes_and_its_density_stays() -> None:
    plain = encoded(four_colours(), "JPEG", dpi=(300, 300))
    preview = plain[:18] + b"\x01\x01\xff\x00\x7f" + plain[20:]
    content = preview[:4] + struct.pack(">H", 19) + preview[6:]
    assert cleaned(content) == plain


def test_a_jpeg_without_its_end_gets_one() -> None:
    whole = encoded(noise((60, 60)), "JPEG")
    assert cleaned(whole[:-2]) == whole


def test_a_picture_of_ours_is_shown_with_all_that_it_says() -> None:
    own = as_png(noise((40, 30)), {"Model": "m", "Prompt": "红色", "Seed": "7"})
    assert cleaned(own) == own
    more = own[:33] + chunk(b"tEXt", b"Comment\0" + SECRET) + own[33:]
    other = chunk(b"iTXt", b"Location\0\0\0\0\0" + SECRET)
    assert cleaned(more) == cleaned(own[:33] + other + own[33:]) == own


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_another_program_made_says_that_a_model_did_and_no_more(kind: str) -> None:
    packet = mark().replace(b"</rdf:RDF>", SECRET + b"</rdf:RDF>")
    if kind == "PNG":
        plain = encoded(four_colours(), kind, exif=exif())
        content = plain[:33] + chunk(b"tEXt", b"generator\0" + packet) + plain[33:]
    else:
        content = encoded(four_colours(), kind, exif=exif(), xmp=packet)
    shown = cleaned(content)
    image = Image.open(io.BytesIO(shown))
    image.load()
    said = image.info.get("XML:com.adobe.xmp", "").encode() or image.info["xmp"]
    assert says_generated(shown)
    assert said == mark()
    assert b"GPS" not in shown


def _apple() -> bytes:
    plain = encoded(four_colours(), "PNG")
    return plain[:8] + chunk(b"CgBI", b"\x50\x00\x20\x02") + plain[8:]


UNUSUAL: dict[str, Callable[[], bytes]] = {
    "a chunk that must be understood": _apple,
    "png of many chunks": lambda: png()[:33] + chunk(b"tEXt", b"a\0b") * 21_000 + png()[33:],
    "jpeg of many remarks": lambda: jpeg_of_segments(6_000),
    "gif of many remarks": lambda: gif_of_remarks(120_000),
    "a simple webp that a model made": lambda: encoded(four_colours(), "WEBP") + mark(),
    "a gif that a model made": lambda: encoded(four_colours("P"), "GIF") + mark(),
    "a webp cut short": lambda: webp()[:200],
    "a png without an end": lambda: encoded(noise((20, 20)), "PNG")[:-12],
    "a gif cut short": lambda: encoded(noise((20, 20)).convert("P"), "GIF")[:-9],
    "a gif that draws a text": lambda: (
        encoded(four_colours("P"), "GIF")[:-1] + b"!\x01\x0c" + bytes(12) + b"\x01a\0;"
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_is_left_to_the_decoder(name: str) -> None:
    content = UNUSUAL[name]()
    kinds = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"GIF": "image/gif"}
    found = [kind for start, kind in kinds.items() if content.startswith(start)]
    assert clean(content, found[0] if found else "image/webp") is None


@pytest.mark.parametrize("kind", ["AVIF", "JXL", "BMP", "TIFF"])
def test_formats_whose_metadata_lies_anywhere_are_left_to_the_decoder(kind: str) -> None:
    readers()
    content = encoded(four_colours(), kind)
    assert clean(content, media_type(content)) is None


def test_hidden_pixels_behind_a_crop_are_gone() -> None:
    # What some editors left of the larger screenshot behind the end of the smaller one.
    before, after = encoded(noise((80, 80)), "PNG"), encoded(noise((20, 20), 1), "PNG")
    overwritten = after + before[len(after) :]
    assert cleaned(overwritten) == after


def test_xmp_of_others_is_no_mark() -> None:
    content = encoded(four_colours(), "JPEG", xmp=xmp())
    assert b"adobe" not in cleaned(content)
