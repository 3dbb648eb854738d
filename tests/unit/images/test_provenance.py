"""Generated images are told from photos by their files, and by the label that a person sees."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest
from PIL import Image

from product_search.images.provenance import NOTICE, as_png, labelled, says_generated
from tests.unit.pictures import encoded, good_images, noise

HOSTILE = "红<b>&]]>\n🎒"
SOURCE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


def test_the_file_says_that_a_model_made_it_and_how() -> None:
    picture = noise((64, 48))
    content = as_png(picture, {"Prompt": HOSTILE, "Seed": "7"})
    image = Image.open(io.BytesIO(content))
    assert image.tobytes() == picture.tobytes()
    assert (image.info["Prompt"], image.info["Seed"]) == (HOSTILE, "7")
    assert image.info["Comment"] == NOTICE
    packet = ElementTree.fromstring(image.info["XML:com.adobe.xmp"])
    (source,) = packet.iter(SOURCE)
    assert source.text == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert says_generated(content)


def test_the_same_image_is_the_same_file() -> None:
    assert as_png(noise((64, 48)), {"Seed": "7"}) == as_png(noise((64, 48)), {"Seed": "7"})


def test_the_mark_outlives_a_change_of_format_that_keeps_metadata() -> None:
    image = Image.open(io.BytesIO(as_png(noise((64, 48)), {})))
    xmp = image.info["XML:com.adobe.xmp"].encode()
    for kind in ("JPEG", "WEBP"):
        assert says_generated(encoded(image, kind, xmp=xmp))


@pytest.mark.parametrize("name", sorted(good_images()))
def test_photos_do_not_say_it(name: str) -> None:
    assert not says_generated(good_images()[name])


@pytest.mark.parametrize("size", [(256, 256), (1024, 256), (256, 1024), (1024, 1024)])
def test_the_label_is_small_in_the_lower_right_corner(size: tuple[int, int]) -> None:
    plain = Image.new("RGB", size, "white")
    changed = Image.eval(labelled(plain).convert("L"), lambda value: 255 - value).getbbox()
    assert changed is not None
    left, top, right, bottom = changed
    assert (right, bottom) == size
    assert (right - left) * (bottom - top) < size[0] * size[1] / 20
    assert plain.getpixel((size[0] - 1, size[1] - 1)) == (255, 255, 255)  # a copy was marked
