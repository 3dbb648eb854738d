"""What the report measures: each figure as values per query, for any encoder of the Protocol."""

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
    drawing,
    laid_on,
    open_image,
    read_drawing,
)
from product_search.training.starter.measures import hits, image_to_image_precisions, ranked, ranks
from product_search.training.starter.text_space import Floats

# Things to paint, by code point; hues in 256ths of a circle; the least saturation of the paint.
RECOLOURED = {"1f392": "背包", "1f45c": "手提包", "1f455": "T恤", "1f457": "连衣裙",
              "1f45f": "运动鞋", "1f9e2": "棒球帽", "2602": "雨伞", "1f697": "汽车",
              "1fa91": "椅子"}  # fmt: skip
HUES = {"红": 0, "黄": 42, "绿": 85, "蓝": 165, "紫": 198}
STRONG = 190


class Encoder(Protocol):
    """What is measured: texts and images into one space."""

    def encode_texts(self, texts: Sequence[str]) -> Matrix:
        """Float32 (n, dim), L2-normalised."""
        ...

    def encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        """Float32 (n, dim), L2-normalised."""
        ...


@dataclass(frozen=True)
class Answers:
    """The embeddings of photos, and of near copies of them, by one encoder."""

    encoder: Encoder
    photos: Matrix
    near_copies: Matrix

    @classmethod
    def of(cls, encoder: Encoder, photos: Sequence[Photo]) -> Answers:
        """Every photo through the encoder."""
        pictures = [open_image(photo.path) for photo in photos]
        copies = [near_copy(picture) for picture in pictures]
        return cls(encoder, encoder.encode_images(pictures), encoder.encode_images(copies))


def on_white(path: Path) -> Image.Image:
    """A drawing as large as its white ground."""
    return laid_on(read_drawing(path), Image.new("RGB", (SIDE, SIDE), "white"), 1.0, (0.5, 0.5))


def near_copy(picture: Image.Image) -> Image.Image:
    """The image as another shop would show it: trimmed by a tenth, brighter, saved again."""
    width, height = picture.size
    trimmed = picture.crop((width // 20, height // 20, width - width // 20, height - height // 20))
    saved = io.BytesIO()
    ImageEnhance.Brightness(trimmed).enhance(1.15).save(saved, "JPEG", quality=60)
    with Image.open(saved) as copy:
        return copy.convert("RGB")


def recoloured(emoji: Path) -> dict[tuple[str, str], Image.Image]:
    """(colour, thing) -> each of some things in each of some colours, on white."""
    shown = {}
    for point, name in RECOLOURED.items():
        thing = read_drawing(drawing(emoji, point))
        _, saturation, value = thing.convert("RGB").convert("HSV").split()
        strong = saturation.point(lambda level: max(level, STRONG))
        for colour, hue in HUES.items():
            flat = Image.new("L", thing.size, hue)
            painted = Image.merge("HSV", (flat, strong, value)).convert("RGB")
            painted.putalpha(thing.getchannel("A"))
            ground = Image.new("RGB", (SIDE, SIDE), "white")
            shown[colour, name] = laid_on(painted, ground, 0.9, (0.5, 0.5))
    return shown


def held_out_images(emoji: Path) -> dict[str, Image.Image]:
    """First name of each held-out object -> its 3D image on white."""
    held = words.held_out_names().items()
    return {names[0]: on_white(drawing(emoji, point)) for point, names in held}


def labels_of(photos: Sequence[Photo]) -> NDArray[np.str_]:
    """The class of each photo."""
    return np.array([photo.label for photo in photos])


def titles_asked(photos: Sequence[Photo]) -> list[tuple[str, str]]:
    """(label, title) of each class that the photos show, ordered."""
    return sorted({(photo.label, photo.title) for photo in photos})


def paraphrases_asked(photos: Sequence[Photo]) -> list[tuple[str, str]]:
    """(label, paraphrase) of each class that the photos show."""
    asked = words.paraphrases()
    return [(label, text) for label, _ in titles_asked(photos) for text in asked[label]]


def text_scores(answers: Answers, asked: Sequence[tuple[str, str]]) -> Matrix:
    """Cosines (texts, photos)."""
    scores: Matrix = answers.encoder.encode_texts([text for _, text in asked]) @ answers.photos.T
    return scores


def per_query(answers: Answers, photos: Sequence[Photo]) -> dict[str, Floats]:
    """Figure -> its value for each query; every encoder is asked the same queries in order."""
    labels, figures = labels_of(photos), {}
    for name, asked in (
        ("class titles", titles_asked(photos)),
        ("paraphrases", paraphrases_asked(photos)),
    ):
        relevant = np.array([label for label, _ in asked])[:, None] == labels[None]
        found = ranked(text_scores(answers, asked).astype(np.float64), relevant)
        figures[f"text→image mAP@100, {name}"] = found.average_precisions
        figures[f"text→image P@10, {name}"] = found.precisions
    figures["image→image P@10"] = image_to_image_precisions(
        answers.photos.astype(np.float64), labels
    )
    copies = ranks(answers.near_copies.astype(np.float64) @ answers.photos.T)
    figures["near-identical picture first"] = hits(copies == 1)
    return figures


def object_figures(encoder: Encoder, pictures: Mapping[str, Image.Image]) -> dict[str, Floats]:
    """Each image against the first names of all held-out objects, of which its key is one."""
    names = [names[0] for names in words.held_out_names().values()]
    scores = encoder.encode_images([*pictures.values()]) @ encoder.encode_texts(names).T
    own = scores[np.arange(len(pictures)), [names.index(name) for name in pictures]]
    rank = (scores >= own[:, None]).sum(axis=1)
    return {
        f"held-out objects: right word in the first {depth} of 100": hits(rank <= depth)
        for depth in (1, 5)
    }


def colour_figures(
    encoder: Encoder, pictures: Mapping[tuple[str, str], Image.Image]
) -> dict[str, Floats]:
    """For 红色的X among images by (colour, thing): it comes first; X red before X blue."""
    keys = [*pictures]
    asked = encoder.encode_texts([f"{colour}色的{thing}" for colour, thing in keys])
    scores = (asked @ encoder.encode_images([*pictures.values()]).T).astype(np.float64)
    things = np.array([thing for _, thing in keys])
    same = (things[:, None] == things[None]) & ~np.eye(len(keys), dtype=np.bool_)
    below = scores < np.diag(scores)[:, None]
    return {
        "colour and thing first": hits(ranks(scores) == 1),
        "before the same thing in another colour": (below & same).sum(axis=1) / same.sum(axis=1),
    }


def breadth_figures(encoder: Encoder, folder: Path) -> dict[str, Floats]:
    """One photo of each ImageNet class, in the classes' order, against the classes' first names."""
    paths = sorted(folder.glob("*.JPEG"))
    photos = np.concatenate([encoder.encode_images([open_image(path)]) for path in paths])
    names = encoder.encode_texts([names[0] for names in words.imagenet_names()])
    scores = (names @ photos.T).astype(np.float64)
    return {
        "text→image: the class's photo in the first 10 of 1,000": hits(ranks(scores) <= 10),
        "image→text: the class's name in the first 5 of 1,000": hits(ranks(scores.T) <= 5),
    }


def confusions(answers: Answers, photos: Sequence[Photo], most: int) -> list[tuple[str, str, int]]:
    """(shown, said, times): the nearest of all class titles where it isn't the photo's own."""
    titles = sorted({names[0] for names in words.photo_words().values()})
    said = (answers.photos @ answers.encoder.encode_texts(titles).T).argmax(axis=1)
    pairs = Counter(
        (photo.title, titles[index])
        for photo, index in zip(photos, said, strict=True)
        if photo.title != titles[index]
    )
    return [(shown, named, count) for (shown, named), count in pairs.most_common(most)]


def best_scores(answers: Answers, photos: Sequence[Photo]) -> dict[str, Floats]:
    """Kind of query -> the best cosine that each query reaches."""
    unknown = [("", text) for text in words.unknown_queries()]
    labels = labels_of(photos)
    asked = titles_asked(photos)
    relevant = np.array([label for label, _ in asked])[:, None] == labels[None]
    return {
        "class titles, best right photo": np.where(relevant, text_scores(answers, asked), -1).max(
            axis=1
        ),
        "paraphrases, best photo": text_scores(answers, paraphrases_asked(photos)).max(axis=1),
        "queries that name nothing here, best photo": text_scores(answers, unknown).max(axis=1),
    }
