"""What is trained on and what is held back to measure on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from product_search.training.starter import words
from product_search.training.starter.images import Photo
from product_search.training.starter.material import (
    early_stopping_mask,
    training_drawings,
    training_photos,
)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two sets under names of their own, with photos of every kind."""
    paths = (tmp_path / "shelf", tmp_path / "wardrobe")
    for path in paths:
        path.mkdir()
        rows = ["image_path,class_id,title_zh,title_en,kind"]
        rows += [f"{kind}-{n}.jpg,0,苹果,apple,{kind}" for n in range(3) for kind in
                 ("photo", "iconic", "validation")]  # fmt: skip
        (path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    return paths


def test_validation_photos_are_never_trained_on(folders: tuple[Path, Path]) -> None:
    photos = training_photos(*folders)
    assert {photo.kind for photo in photos} == {"photo", "iconic"}
    assert len(photos) == 12


def test_labels_go_by_the_set_and_not_by_its_folder(folders: tuple[Path, Path]) -> None:
    assert {photo.label for photo in training_photos(*folders)} == {"grocery:0", "clothing:0"}


def test_no_3d_image_of_a_held_out_object_is_trained_on(
    tmp_path: Path, make_drawings: Callable[[str], Path]
) -> None:
    solid, flat = make_drawings("solid"), make_drawings("flat")
    drawings = training_drawings(solid, flat)
    held = words.held_out_names().keys()
    assert not {point for path, point in drawings if path.parent == solid} & held
    assert {point for path, point in drawings if path.parent == flat} >= held
    assert len(drawings) == 2 * len(words.emoji_names()) + len(held)


@pytest.fixture
def make_drawings(tmp_path: Path) -> Callable[[str], Path]:
    """A folder with a file for every emoji."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for point in words.emoji_names() | words.held_out_names():
            (folder / f"{point}.png").touch()
        return folder

    return make


def test_the_last_tenth_of_each_class_is_held_back_from_early_stopping() -> None:
    photos = [Photo(Path("x"), label, "", "photo") for label in "ab" for _ in range(20)]
    photos.append(Photo(Path("y"), "a", "", "iconic"))
    held = np.flatnonzero(early_stopping_mask(photos))
    assert held.tolist() == [18, 19, 38, 39]
