"""The formats of phones and of new software, large honest images, and silence of the decoders."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import subprocess
import sys
import threading
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from product_search.errors import ImageTooManyPixels, InvalidImage
from product_search.images.budget import Budget
from product_search.images.decoding import MAX_DECODED_SIDE, decode
from product_search.images.formats import MAX_PIXELS, MEMORY, media_type, open_header, readers
from product_search.settings import ROOT
from tests.clock import until
from tests.unit.pictures import COLOURS, encoded, four_colours, noise

FILES = Path(__file__).with_name("files")
HEIC = (FILES / "new-1.heic").read_bytes()


def jxl(image: Image.Image, **options: object) -> bytes:
    assert "JXL" in readers()  # whose plugin can write it too
    return encoded(image, "JXL", **options)


def test_heic_is_read_and_served_as_such() -> None:
    assert decode(HEIC).size == (96, 72)
    assert media_type(HEIC) == "image/heic"


@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": True, "use_container": True}])
def test_jpeg_xl_is_read_in_its_colours(options: dict[str, object]) -> None:
    content = jxl(four_colours(), **options)
    image = decode(content)
    assert image.size == (48, 32)
    for at, colour in zip([(8, 8), (40, 8), (8, 24), (40, 24)], COLOURS, strict=True):
        pixel = image.getpixel(at)
        assert isinstance(pixel, tuple)
        assert np.abs(np.subtract(pixel, colour)).max() <= 12
    assert media_type(content) == "image/jxl"


@pytest.mark.parametrize("size", [(48, 32), (1000, 8), (300, 200), (264, 256), (8, 16)])
def test_the_size_of_a_jpeg_xl_is_told_by_its_header(size: tuple[int, int]) -> None:
    """As much memory is reserved as its size asks for, before it is decoded."""
    content = jxl(Image.new("RGB", size, (9, 9, 9)))
    assert decode(content).size == size
    assert open_header(content)[1] - 24_000_000 == int(size[0] * size[1] * 7.8)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_orientation_of_a_jpeg_xl_is_in_its_pixels(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = jxl(four_colours(size=(400, 300)), lossless=True, exif=exif.tobytes())
    assert decode(content).size == Image.open(io.BytesIO(content)).size


def test_a_jpeg_kept_within_a_jpeg_xl_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.jpg").write_bytes(encoded(four_colours(size=(64, 32)), "JPEG", exif=exif))
    assert "JXL" in readers()
    Image.open(tmp_path / "a.jpg").save(tmp_path / "a.jxl", lossless_jpeg=True)
    assert decode((tmp_path / "a.jxl").read_bytes()).size == (32, 64)


def test_the_type_of_a_jpeg_xl_is_told_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    content = jxl(four_colours())
    monkeypatch.setattr(Image, "open", None)
    assert media_type(content) == "image/jxl"


def test_a_jpeg_xl_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    bits, shift = 0, 0
    for value, count in ((0, 1), (3, 2), (60_000 - 1, 30), (0, 3), (3, 2), (60_000 - 1, 30)):
        bits |= value << shift
        shift += count
    with pytest.raises(ImageTooManyPixels):
        decode(b"\xff\x0a" + bits.to_bytes(40, "little"))


@pytest.mark.parametrize("kind", ["HEIF", "JXL"])
def test_a_damaged_image_is_read_or_refused_and_nothing_else(kind: str) -> None:
    whole = HEIC if kind == "HEIF" else jxl(noise((64, 48)))
    dice = random.Random(0)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        with contextlib.suppress(InvalidImage, ImageTooManyPixels):
            assert decode(bytes(content)).mode == "RGB"
    with pytest.raises(InvalidImage):
        decode(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        ((8064, 6048), "JPEG"),
        ((750, 60_000), "JPEG"),
        ((12_000, 10_000), "JPEG"),
        ((9_000, 5_000), "PNG"),
        ((750, 60_000), "TIFF"),
    ],
)
def test_a_large_honest_image_is_decoded_at_a_smaller_scale(
    size: tuple[int, int], kind: str
) -> None:
    options: dict[str, Any] = {"quality": 50} if kind == "JPEG" else {}
    options |= {"compression": "tiff_deflate"} if kind == "TIFF" else {}
    image = decode(encoded(Image.new("RGB", size, (200, 30, 40)), kind, **options))
    assert max(image.size) == MAX_DECODED_SIDE
    pixel = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    assert np.abs(np.subtract(pixel, (200, 30, 40))).max() <= 4


def test_a_large_cut_out_keeps_its_parts_where_they_are() -> None:
    image = Image.new("RGBA", (6_000, 4_000))
    image.paste((220, 30, 40, 255), (1_000, 1_000, 3_000, 3_000))
    small = decode(encoded(image, "PNG", compress_level=1))
    assert small.size == (1024, 683)
    assert small.getpixel((20, 20)) == (255, 255, 255)
    assert small.getpixel((300, 300)) == (220, 30, 40)
    assert small.getpixel((700, 300)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(60, 40), (6_000, 4_000)])
def test_a_region_is_of_the_upright_image(orientation: int, size: tuple[int, int]) -> None:
    upright = four_colours(size=size)
    to_stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright if orientation == 1 else upright.transpose(to_stored[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(stored, "PNG", exif=exif, compress_level=1)
    half = (size[0] // 2, size[1] // 2)
    for place, colour in enumerate(COLOURS):
        corner = (place % 2) * half[0], (place // 2) * half[1]
        part = decode(content, (*corner, *half))
        assert part.getpixel((part.width // 2, part.height // 2)) == colour
        assert part.getpixel((1, 1)) == colour


def is_waited_for(budget: Budget, count: int) -> bool:
    return len(budget._waiting) == count


def test_who_needs_much_memory_is_served_in_turn() -> None:
    budget, order = Budget(100), []
    entered, done = threading.Event(), threading.Event()

    def hold(size: int, name: str) -> None:
        with budget.reserve(size):
            order.append(name)
            if name == "first":
                entered.set()
                assert done.wait(30)

    names = [("first", 60), ("large", 100), ("small", 10)]
    threads = [threading.Thread(target=hold, args=(size, name)) for name, size in names]
    threads[0].start()
    assert entered.wait(30)
    for thread, waiting in zip(threads[1:], (1, 2), strict=True):
        thread.start()
        until(partial(is_waited_for, budget, waiting), "its place in the queue")
    done.set()
    for thread in threads:
        thread.join(30)
    assert order == ["first", "large", "small"]


def test_no_image_that_is_allowed_takes_more_memory_than_there_is() -> None:
    """Headers alone say so: a PNG's and a JPEG's, of more pixels than the files have."""
    side = int(MAX_PIXELS**0.5)
    png, jpeg = (bytearray(encoded(four_colours(), kind)) for kind in ("PNG", "JPEG"))
    png[16:24] = struct.pack(">II", side, side)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    for content in (png, jpeg):
        image, memory = open_header(bytes(content))
        assert image is not None
        assert image.size == (side, side)
        assert memory <= MEMORY


LOUD = """
import sys
import threading
import zlib
from pathlib import Path
from typing import Any
from product_search.errors import InvalidImage
from product_search.images.decoding import decode
for name in sys.argv[1:]:
    try:
        decode(Path(name).read_bytes())
    except InvalidImage:
        print("refused")
"""


def test_decoders_write_nothing_to_stderr() -> None:
    files = [str(FILES / name) for name in ("log-1.tif", "log-2.tif")]
    done = subprocess.run(
        [sys.executable, "-c", LOUD, *files], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["refused", "refused"]
    assert done.stderr == ""
