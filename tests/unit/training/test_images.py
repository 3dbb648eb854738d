"""Photos and drawings, and the many ways to show each."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from product_search.training.starter.images import (
    SIDE,
    drawing_views,
    find_drawing,
    open_image,
    paste_on,
    photo_views,
    random_crop,
    read_drawing,
    read_photos,
)
from tests.unit.pictures import noise


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    noise((90, 60), 1).save(path)
    return path


@pytest.fixture
def thing(tmp_path: Path) -> Path:
    """A red square with a transparent margin."""
    path = tmp_path / "1f9e2-fe0f.webp"
    picture = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (10, 10, 30, 30))
    picture.save(path, lossless=True)
    return path


def test_labels_are_read(tmp_path: Path) -> None:
    text = "image_path,class_id,title_zh,title_en,kind\nimages/a.jpg,7,鞋,shoe,photo\n"
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    (photo,) = read_photos("clothing", tmp_path)
    assert photo.label == "clothing:7"
    assert (photo.title, photo.kind) == ("鞋", "photo")
    assert photo.path == tmp_path / "images/a.jpg"


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(path)
    assert open_image(path).getpixel((0, 0)) == (255, 255, 255)


def test_a_photo_is_shown_as_it_is_then_mirrored_then_in_other_ways(photo: Path) -> None:
    views = photo_views(photo, 6, seed=1)
    assert len(views) == 6
    upright = np.asarray(Image.open(photo).convert("RGB"))
    assert np.array_equal(np.asarray(views[0]), upright)
    assert np.array_equal(np.asarray(views[1]), upright[:, ::-1])
    assert len({view.tobytes() for view in views}) == 6


def test_the_same_seed_shows_the_same_views(photo: Path, thing: Path) -> None:
    shown = [photo_views(photo, 5, seed) for seed in (3, 3, 4)]
    drawn = [drawing_views(thing, [photo], 5, seed) for seed in (3, 3, 4)]
    for views in (shown, drawn):
        first, again, other = ([view.tobytes() for view in seen] for seen in views)
        assert first == again
        assert first[2:] != other[2:]


def test_a_crop_keeps_a_third_of_the_image() -> None:
    picture, rng = Image.new("RGB", (100, 80)), random.Random(0)
    for _ in range(50):
        part = random_crop(picture, rng)
        assert part.width <= 100
        assert part.height <= 80
        # Long shapes are cut off at the image's edge, so a little less than 0.35 can be left.
        assert part.width * part.height > 0.3 * 100 * 80


def test_a_drawing_is_found_with_and_without_its_variation_selector(thing: Path) -> None:
    assert find_drawing(thing.parent, "1f9e2") == thing
    with pytest.raises(FileNotFoundError, match="1f3a9"):
        find_drawing(thing.parent, "1f3a9")


def test_a_drawing_fills_its_share_of_the_ground_without_its_margin(thing: Path) -> None:
    ground = Image.new("RGB", (SIDE, SIDE), "white")
    laid = np.asarray(paste_on(read_drawing(thing), ground, 0.5, (0.5, 0.5)))
    red = (laid == (255, 0, 0)).all(axis=2)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert (rows[0], rows[-1]) == (SIDE // 4, 3 * SIDE // 4 - 1)
    assert (columns[0], columns[-1]) == (SIDE // 4, 3 * SIDE // 4 - 1)
    assert np.asarray(ground).min() == 255  # the ground itself is left as it is


def test_a_drawing_is_shown_on_many_grounds(thing: Path, photo: Path) -> None:
    views = drawing_views(thing, [photo], 8, seed=2)
    assert [view.size for view in views] == [(SIDE, SIDE)] * 8
    assert views[0].getpixel((SIDE // 2, SIDE // 2)) == (255, 0, 0)
    assert len({view.tobytes() for view in views}) == 8
