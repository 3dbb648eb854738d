"""Pictures that are small as files and large in memory, and those that break their decoder."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, TiffImagePlugin

from product_search.errors import ImageTooManyPixels, InvalidImage
from product_search.images.decoding import MAX_DECODED_SIDE, decode
from product_search.settings import ROOT
from tests.unit.pictures import COLOURS, encoded, four_colours, noise

MAX_EXTRA_MB = 600
RED, CLEAR = b"\xff\0\0\xff", b"\0\0\0\0"
WHITE = (255, 255, 255)


def deflated(row: bytes, rows: int, level: int = 9) -> bytes:
    """The same row again and again, compressed without ever being held whole."""
    packer = zlib.compressobj(level)
    at_once = max(1, (1 << 20) // len(row))
    block = row * at_once
    parts = [packer.compress(block) for _ in range(rows // at_once)]
    return b"".join([*parts, packer.compress(row * (rows % at_once)), packer.flush()])


def png(
    size: tuple[int, int], depth: int, colour_type: int, row: bytes, *extra: tuple[bytes, bytes]
) -> bytes:
    """A PNG whose rows are all the same; `extra` are chunks before the pixels."""
    header = struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0)
    pixels = deflated(b"\0" + row, size[1])
    chunks = [(b"IHDR", header), *extra, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def tiff_of_one_tile(tile: tuple[int, int], data: bytes) -> bytes:
    """A grey TIFF that says 16 × 16 and keeps its pixels in one deflated tile."""
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile[0], 323: tile[1]}
    end = 8 + 2 + 12 * (len(tags) + 2) + 4
    entries = sorted((tags | {324: end, 325: len(data)}).items())
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4) + data


def never_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every decoding fail the test."""

    def load(_image: Image.Image) -> None:
        raise AssertionError("the picture was decoded")

    for kind in (Image.Image, ImageFile.ImageFile, TiffImagePlugin.TiffImageFile):
        monkeypatch.setattr(kind, "load", load)


def test_a_tile_larger_than_its_image_is_read_where_it_is_small() -> None:
    image = decode(tiff_of_one_tile((256, 256), deflated(b"\x80" * 256, 256)))
    assert image.size == (16, 16)
    assert image.getpixel((8, 8)) == (128, 128, 128)


@pytest.mark.parametrize("tile", [(20_000, 20_000), (16, 4_000_000), (4_000_000, 16)])
def test_a_tile_with_too_many_pixels_is_refused_before_it_is_decoded(
    tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tiff_of_one_tile(tile, deflated(bytes(tile[0]), tile[1]))
    never_load(monkeypatch)
    with pytest.raises(ImageTooManyPixels):
        decode(content)


@pytest.mark.parametrize(
    ("shape", "depth", "row"),
    [
        ((1, 40_000_000), 8, b"\0"),
        ((1, 40_000_000), 16, b"\0\0"),
        ((40_000_000, 1), 8, bytes(40_000_000)),
        ((1, 65_536), 8, b"\0"),
        ((65_536, 1), 8, bytes(65_536)),
    ],
    ids=["tall", "16 bits, tall", "wide", "just too tall", "just too wide"],
)
def test_an_image_with_too_long_a_side_is_refused_before_it_is_decoded(
    shape: tuple[int, int], depth: int, row: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = png(shape, depth, 0, row)
    never_load(monkeypatch)
    with pytest.raises(ImageTooManyPixels):
        decode(content)


@pytest.mark.parametrize("size", [(1, 65_535), (65_535, 1)])
def test_an_image_with_the_longest_side_is_read(size: tuple[int, int]) -> None:
    image = decode(png(size, 8, 0, b"\x80" * size[0]))
    assert max(image.size) == MAX_DECODED_SIDE
    assert image.getpixel((0, 0)) == (128, 128, 128)


def damaged_avifs() -> Iterator[bytes]:
    """An AVIF with some bytes changed, always the same ones."""
    whole = encoded(noise((40, 37)), "AVIF")
    dice = random.Random(0)
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(dice.choice([1, 2, 4, 10])):
            content[dice.randrange(len(content))] = dice.randrange(256)
        yield bytes(content)


def breaks_pillow(content: bytes) -> bool:
    """Whether Pillow raises RuntimeError, which is neither of its usual two."""
    try:
        Image.open(io.BytesIO(content)).load()
    except RuntimeError:
        return True
    except (OSError, ValueError, SyntaxError):
        return False
    return False


def test_an_avif_that_breaks_its_decoder_is_no_image() -> None:
    breaking = [content for content in damaged_avifs() if breaks_pillow(content)]
    assert breaking, "none of these raises RuntimeError any more: damage others"
    for content in breaking:
        with pytest.raises(InvalidImage):
            decode(content)


HALF = 3_160
LONGEST = 65_535  # of a side: Pillow spends memory on each row, however short
LARGE = {
    "rgba": ((2 * HALF, 6_320), 8, 6, RED * HALF + CLEAR * HALF),
    "16 bits": ((2 * HALF, 6_320), 16, 0, b"\x40\0" * HALF + b"\xc0\0" * HALF),
    "16 bits, tall": ((610, LONGEST), 16, 0, b"\x80\0" * 610),
    "tall": ((610, LONGEST), 8, 2, RED[:3] * 610),
    "rgba, tall": ((610, LONGEST), 8, 6, CLEAR * 610),
    "rgba, wide": ((LONGEST, 610), 8, 6, CLEAR * LONGEST),
}
PALETTE = [(b"PLTE", RED[:3] + b"\0\0\0"), (b"tRNS", b"\xff\0")]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of images of 40 megapixels, by what is special about them."""
    folder = tmp_path_factory.mktemp("large")
    contents = {name: png(*shape) for name, shape in LARGE.items()}
    row = b"\0" * HALF + b"\1" * HALF
    contents["palette"] = png((2 * HALF, 6_320), 8, 3, row, *PALETTE)
    files = {}
    for name, content in contents.items():
        files[name] = folder / name
        files[name].write_bytes(content)
    return files


# ru_maxrss would begin with what the tests' own process holds: a child inherits it.
SCRIPT = """
import sys
from pathlib import Path
from product_search.images.decoding import render
from product_search.images.formats import open_header
content = Path(sys.argv[1]).read_bytes()
image = render(open_header(content)[0], content, None) if sys.argv[2] == "decode" else None
status = Path("/proc/self/status").read_text().splitlines()
peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
print(int(peak) // 1024, *(image.size if image else ()))
"""


def measured(path: Path, what: str) -> list[int]:
    """Peak memory in MB of a process of its own, then the size of the image."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), what],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
@pytest.mark.parametrize("name", [*LARGE, "palette"])
def test_forty_megapixels_take_bounded_memory(large: dict[str, Path], name: str) -> None:
    (before,) = measured(large[name], "read")
    peak, *size = measured(large[name], "decode")
    assert max(size) <= MAX_DECODED_SIDE
    assert peak - before < MAX_EXTRA_MB


@pytest.mark.parametrize("name", ["rgba", "palette"])
def test_the_transparency_of_a_large_image_is_laid_over_white(
    large: dict[str, Path], name: str
) -> None:
    image = decode(large[name].read_bytes())
    assert (image.mode, image.size) == ("RGB", (MAX_DECODED_SIDE, MAX_DECODED_SIDE))
    assert image.getpixel((256, 512)) == (255, 0, 0)
    assert image.getpixel((768, 512)) == WHITE


def test_sixteen_bits_of_a_large_image_are_scaled_and_not_clipped(large: dict[str, Path]) -> None:
    image = decode(large["16 bits"].read_bytes())
    for x, wanted in ((256, 0x40), (768, 0xC0)):
        colour = image.getpixel((x, 512))
        assert isinstance(colour, tuple)
        assert all(abs(band - wanted) <= 1 for band in colour)


def turned(image: Image.Image, kind: str) -> bytes:
    """The image with EXIF that says: turn me by 90° clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, kind, exif=exif)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("JPEG", "RGB"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("WEBP", "RGB"),
        ("WEBP", "RGBA"),
        ("TIFF", "RGB"),
        ("TIFF", "RGBA"),
    ],
)
def test_a_large_image_is_turned_upright(kind: str, mode: str) -> None:
    image = decode(turned(four_colours(mode, (2_000, 1_000)), kind))
    assert image.size == (512, 1024)
    red, green, blue, yellow = COLOURS
    places = {(128, 256): blue, (384, 256): red, (128, 768): yellow, (384, 768): green}
    for place, wanted in places.items():
        colour = image.getpixel(place)
        assert isinstance(colour, tuple)
        assert all(abs(a - b) <= 40 for a, b in zip(colour, wanted, strict=True))


@pytest.mark.parametrize("size", [(48, 32), (3_000, 2_000)], ids=["small", "large"])
def test_an_image_of_sixteen_bits_is_turned_upright(size: tuple[int, int]) -> None:
    values = np.full((size[1], size[0]), 0x4000, np.uint16)
    values[:, size[0] // 2 :] = 0xC000
    upright = decode(turned(Image.fromarray(values), "PNG"))
    assert upright.height > upright.width
    dark = upright.getpixel((upright.width // 2, upright.height // 4))
    light = upright.getpixel((upright.width // 2, 3 * upright.height // 4))
    assert isinstance(dark, tuple)
    assert isinstance(light, tuple)
    assert (abs(dark[0] - 0x40) <= 1, abs(light[0] - 0xC0) <= 1) == (True, True)
