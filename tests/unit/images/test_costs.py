"""Files whose decoding costs more than their pixels: refused by their structure, or set apart."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image, ImageFile

from product_search.errors import ImageTooComplex
from product_search.images import costs, decoding
from product_search.images.decoding import decode
from product_search.images.formats import MAX_BYTES
from tests.unit import pictures
from tests.unit.pictures import encoded, four_colours

PHOTO = four_colours()


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    content = encoded(PHOTO, "PNG")
    extra = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return content[:33] + extra + content[33:]


def webp_with(kind: bytes, body: bytes) -> bytes:
    content = encoded(PHOTO, "WEBP")
    whole = content[8:] + struct.pack("<4sI", kind, len(body)) + body
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


@pytest.mark.parametrize("count", [costs.MAX_SCANS, 4_000])
def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = pictures.jpeg_of_scans(count)

    def load(_image: Image.Image) -> None:
        raise AssertionError("the picture was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(ImageTooComplex):
        decode(content)


def test_a_jpeg_of_many_scans_is_read_where_they_are_not_too_many() -> None:
    assert decode(pictures.jpeg_of_scans(40)).size == (48, 32)


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["without an end", "with one"])
def test_a_jpeg_of_a_million_segments_is_refused_by_the_first_of_them(end: bytes) -> None:
    content = pictures.jpeg_of_segments((MAX_BYTES - 4_000) // 4) + end
    with pytest.raises(ImageTooComplex):
        decode(content)


def test_segments_behind_the_pixels_of_a_jpeg_without_an_end_are_counted_too() -> None:
    content = encoded(PHOTO, "JPEG")[:-2] + b"\xff\xfe\0\x02" * 1_000_000
    with pytest.raises(ImageTooComplex):
        decode(content)


SIMPLE: dict[str, Callable[[], tuple[bytes, int]]] = {
    "baseline": lambda: (encoded(PHOTO, "JPEG"), 1),
    "progressive": lambda: (encoded(PHOTO, "JPEG", progressive=True), 10),
    "png": lambda: (encoded(PHOTO, "PNG"), 1),
    "transparent png": lambda: (encoded(PHOTO.convert("RGBA"), "PNG"), 1),
    "webp": lambda: (encoded(PHOTO, "WEBP"), 1),
    "webp with metadata": lambda: (webp_with(b"EXIF", bytes(9_000)), 1),
}


@pytest.mark.parametrize("name", SIMPLE)
def test_an_ordinary_image_is_decoded_in_its_own_thread(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, passes = SIMPLE[name]()
    assert costs.passes(content) == passes
    monkeypatch.setattr(decoding, "_processes", None)
    assert decode(content).size == PHOTO.size


SET_APART: dict[str, Callable[[], bytes]] = {
    "gif": lambda: encoded(PHOTO.convert("P"), "GIF"),
    "gif of many remarks": lambda: pictures.gif_of_remarks(100_000),
    "tiff": lambda: encoded(PHOTO, "TIFF"),
    "avif": lambda: encoded(PHOTO, "AVIF"),
    "bmp": lambda: encoded(PHOTO, "BMP"),
    "lossless webp": lambda: encoded(PHOTO, "WEBP", lossless=True),
    "animated webp": lambda: pictures.animated("WEBP"),
    "animated png": lambda: pictures.animated("PNG"),
    "webp of much metadata": lambda: webp_with(b"EXIF", bytes(300_000)),
    "png of many chunks": lambda: png_with(*[(b"tEXt", b"a\0b")] * 4_000),
    "png of many packed texts": lambda: png_with(*[(b"zTXt", b"a\0\0" + zlib.compress(b""))] * 20),
    "png of a long profile": lambda: png_with((b"iCCP", b"a\0\0" + bytes(20_000))),
    "png of much metadata": lambda: png_with((b"eXIf", bytes(300_000))),
    "jpeg of much metadata": lambda: encoded(PHOTO, "JPEG", icc_profile=bytes(300_000)),
    "large jpeg": lambda: encoded(Image.new("L", (7_000, 7_000)), "JPEG"),
    "large progressive jpeg": lambda: encoded(
        Image.new("L", (3_200, 3_200)), "JPEG", progressive=True
    ),
    "large png": lambda: encoded(Image.new("RGB", (5_000, 4_000)), "PNG", compress_level=1),
}


@pytest.mark.parametrize("name", SET_APART)
def test_what_may_cost_more_is_decoded_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = SET_APART[name]()
    assert max(decode(content).size) <= decoding.MAX_DECODED_SIDE

    def render(*_: object) -> None:
        raise AssertionError("it was decoded in the thread that asks")

    monkeypatch.setattr(decoding, "render", render)
    assert max(decode(content).size) <= decoding.MAX_DECODED_SIDE
