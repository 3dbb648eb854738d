"""Floors under what the starter that ships can do; docs/starter-model.md has the figures.

Each floor stands a little below the figure that was measured: chance in arithmetic passes,
a spoiled model, text path or image path does not.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from product_search.encoders.bge import BgeEncoder
from product_search.encoders.precision import PRECISIONS
from product_search.encoders.starter import StarterEncoder
from product_search.settings import ROOT
from product_search.training.report.figures import (
    PhotoEmbeddings,
    best_scores,
    colour_figures,
    drawing_on_white,
    object_figures,
    per_query,
)
from product_search.training.starter import words
from product_search.training.starter.images import Photo, find_drawing, read_photos
from tests.conftest import shared_folder

IMAGES = ROOT / "sample_data" / "images"
COLOUR_WORDS = {"red": "红", "blue": "蓝", "green": "绿", "black": "黑", "purple": "紫",
                "yellow": "黄", "brown": "棕"}  # fmt: skip
FLOORS = {"object first": 0.6, "object in five": 0.85, "colour": 0.9}
PHOTO_FLOORS = {
    "text→image mAP@100, class titles": 0.88,
    "text→image P@10, class titles": 0.90,
    "text→image mAP@100, paraphrases": 0.70,
    "text→image P@10, paraphrases": 0.77,
    "image→image P@10": 0.89,
    "near-identical picture first": 0.95,
}


@pytest.fixture(scope="module", params=PRECISIONS)
def encoder(request: pytest.FixtureRequest) -> StarterEncoder:
    bge = BgeEncoder(ROOT / "models" / "bge-small-zh-v1.5", precision=request.param)
    return StarterEncoder(ROOT / "models" / "starter", bge, precision=request.param)


@pytest.fixture(scope="module")
def validation() -> list[Photo]:
    """The photos that are never trained on."""
    sets = [read_photos(name, shared_folder(name)) for name in ("grocery", "clothing")]
    photos = [photo for photos in sets for photo in photos]
    return [photo for photo in photos if photo.kind == "validation"]


@pytest.fixture(scope="module")
def embeddings(encoder: StarterEncoder, validation: list[Photo]) -> PhotoEmbeddings:
    """The validation photos, through the encoder that ships."""
    return PhotoEmbeddings.encode(encoder, validation)


def sample_images() -> dict[str, Image.Image]:
    """Held-out objects of which the sample catalog has a 3D image, by their first name."""
    found = {}
    for point, names in words.held_out_names().items():
        with suppress(FileNotFoundError):
            found[names[0]] = drawing_on_white(find_drawing(IMAGES, point))
    return found


def recoloured_samples() -> dict[tuple[str, str], Image.Image]:
    """(colour, thing) -> images of the sample catalog that come in several colours."""
    names = words.emoji_names() | words.held_out_names()
    found = {}
    for path in sorted(IMAGES.glob("*-*.webp")):
        point, _, colour = path.stem.partition("-")
        if point in names and colour in COLOUR_WORDS:
            found[COLOUR_WORDS[colour], names[point][0]] = drawing_on_white(path)
    several = Counter(thing for _, thing in found)
    return {key: picture for key, picture in found.items() if several[key[1]] > 1}


def test_objects_that_no_photo_shows_are_named(encoder: StarterEncoder) -> None:
    pictures = sample_images()
    assert len(pictures) > 30
    first, five = object_figures(encoder, pictures).values()
    assert first.mean() > FLOORS["object first"]
    assert five.mean() > FLOORS["object in five"]


def test_a_colour_word_puts_things_of_that_colour_first(encoder: StarterEncoder) -> None:
    pictures = recoloured_samples()
    assert len(pictures) > 60
    _, before = colour_figures(encoder, pictures).values()
    assert before.mean() > FLOORS["colour"]


def test_the_red_bag_comes_before_the_blue_one(encoder: StarterEncoder) -> None:
    shown = encoder.encode_images(
        [drawing_on_white(IMAGES / f"1f392-{c}.webp") for c in ("red", "blue")]
    )
    for text, best in (("红色双肩包", 0), ("蓝色双肩包", 1), ("蓝色的包", 1), ("红色的包", 0)):
        assert (encoder.encode_texts([text]) @ shown.T).argmax() == best


def test_photos_are_found_by_words_and_by_photos(
    embeddings: PhotoEmbeddings, validation: list[Photo]
) -> None:
    figures = {name: values.mean() for name, values in per_query(embeddings, validation).items()}
    assert figures.keys() == PHOTO_FLOORS.keys()
    assert {name: value for name, value in figures.items() if value < PHOTO_FLOORS[name]} == {}


def test_what_names_nothing_here_scores_below_what_is_right(
    embeddings: PhotoEmbeddings, validation: list[Photo]
) -> None:
    right, _, unknown = best_scores(embeddings, validation).values()
    assert np.percentile(unknown, 95) < np.percentile(right, 5)
    assert unknown.max() < np.median(right)
