"""A cut-out is seen on a ground that it can be told from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from product_search.images.decoding import decode
from product_search.images.ground import GREY, WHITE
from product_search.images.perceptual_hash import PerceptualHashes, perceptual_hash
from tests.unit.pictures import encoded

FILES = Path(__file__).with_name("files")


def cut_out(colour: tuple[int, int, int], shape: str = "ellipse") -> Image.Image:
    image = Image.new("RGBA", (120, 120))
    getattr(ImageDraw.Draw(image), shape)((20, 20, 100, 100), fill=colour)
    return image


def ground_of(image: Image.Image, kind: str = "PNG") -> int:
    pixel = decode(encoded(image, kind)).getpixel((2, 2))
    assert isinstance(pixel, tuple)
    assert len(set(pixel)) == 1
    return int(pixel[0])


@pytest.mark.parametrize("colour", [(255, 255, 255), (250, 250, 250), (255, 253, 250)])
def test_white_things_are_seen_on_grey(colour: tuple[int, int, int]) -> None:
    assert ground_of(cut_out(colour)) == GREY


@pytest.mark.parametrize("colour", [(0, 0, 0), (220, 30, 40), (235, 235, 235), (255, 255, 200)])
def test_all_others_are_seen_on_white(colour: tuple[int, int, int]) -> None:
    assert ground_of(cut_out(colour)) == WHITE


def test_a_white_thing_with_a_coloured_print_is_seen_on_grey() -> None:
    image = cut_out((255, 255, 255))
    ImageDraw.Draw(image).rectangle((40, 40, 80, 80), fill=(220, 30, 40))
    assert ground_of(image) == GREY


def test_a_white_thing_with_a_dark_outline_is_seen_on_white() -> None:
    image = cut_out((255, 255, 255))
    ImageDraw.Draw(image).ellipse((20, 20, 100, 100), outline=(30, 30, 30), width=3)
    assert ground_of(image) == WHITE


def test_a_thing_that_touches_the_edges_has_an_outline_too() -> None:
    image = Image.new("RGBA", (60, 60), (255, 255, 255, 255))
    image.paste((0, 0, 0, 0), (0, 0, 60, 20))
    assert ground_of(image) == GREY


@pytest.mark.parametrize("mode", ["LA", "PA", "P"])
def test_transparency_of_every_kind_counts(mode: str) -> None:
    image = cut_out((255, 255, 255))
    if mode == "P":
        image = image.quantize(8)
    content = encoded(image if mode == "P" else image.convert("LA"), "PNG")
    assert np.asarray(decode(content))[2, 2].tolist() == [GREY] * 3


def test_an_image_of_nothing_is_no_error() -> None:
    assert ground_of(Image.new("RGBA", (20, 20))) == WHITE


def test_two_white_cut_outs_of_different_shape_do_not_look_alike() -> None:
    shirt, mug = (
        decode((FILES / name).read_bytes()) for name in ("alpha-1-tee.png", "alpha-3-mug.png")
    )
    assert min(np.ptp(np.asarray(one)) for one in (shirt, mug)) >= 20
    looks = PerceptualHashes.parse([perceptual_hash(shirt), perceptual_hash(mug)])
    assert int(np.bitwise_count(looks.signs[0] ^ looks.signs[1])) > 16


@pytest.mark.parametrize("alpha", [40, 100, 200])
def test_a_white_veil_is_seen_and_two_of_different_shape_do_not_look_alike(alpha: int) -> None:
    hashes = []
    for shape in ("ellipse", "rectangle"):
        image = Image.new("RGBA", (400, 400), (255, 255, 255, 0))
        box = (50, 50, 350, 350) if shape == "ellipse" else (30, 150, 370, 250)
        getattr(ImageDraw.Draw(image), shape)(box, fill=(255, 255, 255, alpha))
        seen = decode(encoded(image, "PNG"))
        assert np.ptp(np.asarray(seen)) >= 8
        hashes.append(perceptual_hash(seen))
    looks = PerceptualHashes.parse(hashes)
    assert int(np.bitwise_count(looks.signs[0] ^ looks.signs[1])) > 16


def test_a_fringe_around_a_white_thing_does_not_show_it() -> None:
    image = cut_out((255, 255, 255))
    ImageDraw.Draw(image).ellipse((20, 20, 100, 100), outline=(200, 200, 200), width=1)
    assert ground_of(image) == GREY
