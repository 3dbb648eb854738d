"""The figures of the report, as values per query, for any encoder of texts and images."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from product_search.encoders.embeddings import Matrix
from product_search.training.starter import words
from product_search.training.starter.images import (
    SIDE,
    Photo,
    find_drawing,
    open_image,
    paste_on,
    read_drawing,
)
from product_search.training.starter.measures import (
    as_floats,
    image_to_image_precisions,
    own_ranks,
    score_rankings,
)
from product_search.training.starter.text_space import Floats

# Objects to paint, by code point; hues in 256ths of a circle; the least saturation of the paint.
RECOLOURED = {"1f392": "背包", "1f45c": "手提包", "1f455": "T恤", "1f457": "连衣裙",
              "1f45f": "运动鞋", "1f9e2": "棒球帽", "2602": "雨伞", "1f697": "汽车",
              "1fa91": "椅子"}  # fmt: skip
HUES = {"红": 0, "黄": 42, "绿": 85, "蓝": 165, "紫": 198}
STRONG = 190


class Encoder(Protocol):
    """An encoder of texts and images into one space."""

    def encode_texts(self, texts: Sequence[str]) -> Matrix:
        """Encode texts as float32 (n, dim), L2-normalised."""
        ...

    def encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        """Encode images as float32 (n, dim), L2-normalised."""
        ...


@dataclass(frozen=True)
class PhotoEmbeddings:
    """The embeddings of photos, and of near copies of them, by one encoder."""

    encoder: Encoder
    photos: Matrix
    near_copies: Matrix

    @classmethod
    def encode(cls, encoder: Encoder, photos: Sequence[Photo]) -> PhotoEmbeddings:
        """Encode every photo and a near copy of it."""
        pictures = [open_image(photo.path) for photo in photos]
        copies = [near_copy(picture) for picture in pictures]
        return cls(encoder, encoder.encode_images(pictures), encoder.encode_images(copies))


def drawing_on_white(path: Path) -> Image.Image:
    """Open a drawing as large as its white background."""
    return paste_on(read_drawing(path), Image.new("RGB", (SIDE, SIDE), "white"), 1.0, (0.5, 0.5))


def near_copy(picture: Image.Image) -> Image.Image:
    """Return the image as another shop would show it: trimmed by a tenth, brighter, saved again."""
    width, height = picture.size
    trimmed = picture.crop((width // 20, height // 20, width - width // 20, height - height // 20))
    saved = io.BytesIO()
    ImageEnhance.Brightness(trimmed).enhance(1.15).save(saved, "JPEG", quality=60)
    with Image.open(saved) as copy:
        return copy.convert("RGB")


def recoloured_drawings(emoji: Path) -> dict[tuple[str, str], Image.Image]:
    """Return some objects in some colours on white, by (colour, object)."""
    images = {}
    for point, name in RECOLOURED.items():
        drawing = read_drawing(find_drawing(emoji, point))
        _, saturation, value = drawing.convert("RGB").convert("HSV").split()
        strong = saturation.point(lambda level: max(level, STRONG))
        for colour, hue in HUES.items():
            flat = Image.new("L", drawing.size, hue)
            painted = Image.merge("HSV", (flat, strong, value)).convert("RGB")
            painted.putalpha(drawing.getchannel("A"))
            ground = Image.new("RGB", (SIDE, SIDE), "white")
            images[colour, name] = paste_on(painted, ground, 0.9, (0.5, 0.5))
    return images


def held_out_images(emoji: Path) -> dict[str, Image.Image]:
    """Return the 3D image of each held-out object on white, by its first name."""
    held = words.held_out_names().items()
    return {names[0]: drawing_on_white(find_drawing(emoji, point)) for point, names in held}


def labels_of(photos: Sequence[Photo]) -> NDArray[np.str_]:
    """Return the class of each photo."""
    return np.array([photo.label for photo in photos])


def title_queries(photos: Sequence[Photo]) -> list[tuple[str, str]]:
    """Return (label, title) of each class that the photos show, ordered."""
    return sorted({(photo.label, photo.title) for photo in photos})


def paraphrase_queries(photos: Sequence[Photo]) -> list[tuple[str, str]]:
    """Return (label, paraphrase) of each class that the photos show."""
    queries = words.paraphrases()
    return [(label, text) for label, _ in title_queries(photos) for text in queries[label]]


def text_scores(embeddings: PhotoEmbeddings, queries: Sequence[tuple[str, str]]) -> Matrix:
    """Return the cosines (queries, photos) of (label, text) queries."""
    scores: Matrix = (
        embeddings.encoder.encode_texts([text for _, text in queries]) @ embeddings.photos.T
    )
    return scores


def per_query(embeddings: PhotoEmbeddings, photos: Sequence[Photo]) -> dict[str, Floats]:
    """Return each figure's value for each query, in an order that is the same for every encoder."""
    labels, figures = labels_of(photos), {}
    for name, queries in (
        ("class titles", title_queries(photos)),
        ("paraphrases", paraphrase_queries(photos)),
    ):
        relevant = np.array([label for label, _ in queries])[:, None] == labels[None]
        found = score_rankings(text_scores(embeddings, queries).astype(np.float64), relevant)
        figures[f"text→image mAP@100, {name}"] = found.average_precisions
        figures[f"text→image P@10, {name}"] = found.precisions
    figures["image→image P@10"] = image_to_image_precisions(
        embeddings.photos.astype(np.float64), labels
    )
    copies = own_ranks(embeddings.near_copies.astype(np.float64) @ embeddings.photos.T)
    figures["near-identical picture first"] = as_floats(copies == 1)
    return figures


def object_figures(encoder: Encoder, pictures: Mapping[str, Image.Image]) -> dict[str, Floats]:
    """Rank the first names of all held-out objects for each image, whose key is one of them."""
    names = [names[0] for names in words.held_out_names().values()]
    scores = encoder.encode_images([*pictures.values()]) @ encoder.encode_texts(names).T
    own = scores[np.arange(len(pictures)), [names.index(name) for name in pictures]]
    rank = (scores >= own[:, None]).sum(axis=1)
    return {
        f"held-out objects: right word in the first {depth} of 100": as_floats(rank <= depth)
        for depth in (1, 5)
    }


def colour_figures(
    encoder: Encoder, pictures: Mapping[tuple[str, str], Image.Image]
) -> dict[str, Floats]:
    """Rank images by (colour, object) for 红色的X: that X first, and before X in other colours."""
    keys = [*pictures]
    queries = encoder.encode_texts([f"{colour}色的{thing}" for colour, thing in keys])
    scores = (queries @ encoder.encode_images([*pictures.values()]).T).astype(np.float64)
    things = np.array([thing for _, thing in keys])
    same = (things[:, None] == things[None]) & ~np.eye(len(keys), dtype=np.bool_)
    below = scores < np.diag(scores)[:, None]
    return {
        "colour and thing first": as_floats(own_ranks(scores) == 1),
        "before the same thing in another colour": (below & same).sum(axis=1) / same.sum(axis=1),
    }


def breadth_figures(encoder: Encoder, folder: Path) -> dict[str, Floats]:
    """Rank a photo of each ImageNet class, in the classes' order, and the classes' first names."""
    paths = sorted(folder.glob("*.JPEG"))
    photos = np.concatenate([encoder.encode_images([open_image(path)]) for path in paths])
    names = encoder.encode_texts([names[0] for names in words.imagenet_names()])
    scores = (names @ photos.T).astype(np.float64)
    return {
        "text→image: the class's photo in the first 10 of 1,000": as_floats(
            own_ranks(scores) <= 10
        ),
        "image→text: the class's name in the first 5 of 1,000": as_floats(own_ranks(scores.T) <= 5),
    }


def confusions(
    embeddings: PhotoEmbeddings, photos: Sequence[Photo], most: int
) -> list[tuple[str, str, int]]:
    """Count the wrong titles that are nearest to photos: (own title, nearest title, count)."""
    titles = sorted({names[0] for names in words.photo_words().values()})
    nearest = (embeddings.photos @ embeddings.encoder.encode_texts(titles).T).argmax(axis=1)
    pairs = Counter(
        (photo.title, titles[index])
        for photo, index in zip(photos, nearest, strict=True)
        if photo.title != titles[index]
    )
    return [(own, wrong, count) for (own, wrong), count in pairs.most_common(most)]


def best_scores(embeddings: PhotoEmbeddings, photos: Sequence[Photo]) -> dict[str, Floats]:
    """Return, by kind of query, the best cosine that each query reaches."""
    unknown = [("", text) for text in words.unknown_queries()]
    labels = labels_of(photos)
    queries = title_queries(photos)
    relevant = np.array([label for label, _ in queries])[:, None] == labels[None]
    return {
        "class titles, best right photo": np.where(
            relevant, text_scores(embeddings, queries), -1
        ).max(axis=1),
        "paraphrases, best photo": text_scores(embeddings, paraphrase_queries(photos)).max(axis=1),
        "queries that name nothing here, best photo": text_scores(embeddings, unknown).max(axis=1),
    }
