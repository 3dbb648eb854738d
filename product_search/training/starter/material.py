"""What the starter is trained on: photos, drawings, their names, and what is held back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from product_search.encoders.bge import BgeEncoder
from product_search.training.starter import words
from product_search.training.starter.feature_maps import FeatureMaps, ViewSpec, compute_maps
from product_search.training.starter.images import Photo, find_drawing, read_photos
from product_search.training.starter.measures import Bools
from product_search.training.starter.text_space import TextSpace, fit_text_space
from product_search.training.starter.words import Names

VIEWS = 8


@dataclass(frozen=True)
class Material:
    """The training images through the trunk, and the concepts by their names."""

    photos: Sequence[Photo]
    maps: tuple[FeatureMaps, FeatureMaps]  # of photos, of drawings
    concepts: Sequence[Names]
    rows: tuple[Sequence[int], Sequence[int]]  # the concept of each photo, of each drawing
    space: TextSpace


def read_material(args: argparse.Namespace, trunk: Path, work: Path) -> Material:
    """Compute the maps of every view of every image, and fit the space of the names.

    Args:
        args: the folders of the sources, and the seed.
        trunk: the exported trunk.
        work: where the maps are kept.
    """
    photos = training_photos(args.grocery, args.clothing)
    drawings = training_drawings(args.emoji, args.flat_emoji)
    classes = words.photo_words()
    names = classes | words.emoji_names() | words.held_out_names()
    row = {key: index for index, key in enumerate(names)}
    concepts = [*names.values()]
    backgrounds = tuple(photo.path for photo in photos if photo.kind == "photo")
    photo_specs = [ViewSpec(photo.path, VIEWS, args.seed + i) for i, photo in enumerate(photos)]
    drawing_specs = [
        ViewSpec(path, VIEWS, args.seed + i, backgrounds) for i, (path, _) in enumerate(drawings)
    ]
    return Material(
        photos,
        (
            compute_maps(trunk, photo_specs, work / "photos.npy"),
            compute_maps(trunk, drawing_specs, work / "drawings.npy"),
        ),
        concepts,
        ([row[photo.label] for photo in photos], [row[point] for _, point in drawings]),
        read_space(args.bge, concepts, [titles[0] for titles in classes.values()]),
    )


def training_photos(grocery: Path, clothing: Path) -> list[Photo]:
    """Read the photos of both sets that are not for validation."""
    photos = [*read_photos("grocery", grocery), *read_photos("clothing", clothing)]
    return [photo for photo in photos if photo.kind != "validation"]


def training_drawings(emoji: Path, flat_emoji: Path) -> list[tuple[Path, str]]:
    """Find the drawings, with their code points: no 3D ones of the held-out objects."""
    known, held_out = words.emoji_names(), words.held_out_names()
    drawings = [(find_drawing(emoji, point), point) for point in known]
    return drawings + [(find_drawing(flat_emoji, point), point) for point in (*known, *held_out)]


def read_space(bge: Path, concepts: Sequence[Names], titles: Sequence[str]) -> TextSpace:
    """Encode all names by BGE and fit the space to them, centred on the titles."""
    classes = words.imagenet_names()
    texts = sorted({name for names in [*concepts, *classes] for name in names})
    vectors = BgeEncoder(bge, "cpu").encode_documents(texts).astype(np.float64)
    return fit_text_space(dict(zip(texts, vectors, strict=True)), titles, [*concepts, *classes])


def early_stopping_mask(photos: Sequence[Photo]) -> Bools:
    """Mark the last tenth of each class's photos, so that neighbours in a series stay together."""
    mask = np.zeros(len(photos), np.bool_)
    by_label: dict[str, list[int]] = {}
    for index, photo in enumerate(photos):
        if photo.kind == "photo":
            by_label.setdefault(photo.label, []).append(index)
    for indices in by_label.values():
        mask[indices[len(indices) - len(indices) // 10 :]] = True
    return mask
