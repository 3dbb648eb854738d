"""The starter head: what it is fitted on, its ridge regression, and its measures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from product_search.training.starter_data import Emoji, Photo

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MAP_DEPTH = 100
PRECISION_DEPTH = 10
TITLE_SHARE = 0.85  # of a photo's target; its class's other words share the rest
NAME_SHARE = 0.5  # of an emoji's target; its shop words and first keywords share the rest
CLASS_LENGTH = 0.7  # of an ImageNet class vector, in lengths of a mean standardised photo


@dataclass(frozen=True)
class Pairs:
    """What the head is fitted on: features (n, f), targets (n, d), weights (n,)."""

    features: Floats
    targets: Floats
    weights: Floats


@dataclass(frozen=True)
class Standard:
    """Mean and deviation (f,) that features are standardised with."""

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, features: Floats) -> Standard:
        """From features (n, f); a feature that never varies is divided by a tiny number."""
        return cls(features.mean(axis=0), features.std(axis=0) + 1e-6)

    def apply(self, features: Floats) -> Floats:
        """(n, f) -> (n, f), each column with mean 0 and deviation 1 on the reference."""
        return (features - self.mean) / self.deviation

    def undo(self, standardised: Floats) -> Floats:
        """The inverse of `apply`."""
        return standardised * self.deviation + self.mean


@dataclass(frozen=True)
class Head:
    """Bare features -> image embeddings; `text_mean` is what text embeddings are centred on."""

    weight: Floats
    bias: Floats
    text_mean: Floats

    def embed_images(self, features: Floats) -> Floats:
        """Features (n, f) -> (n, d), L2-normalised."""
        return normalised(features @ self.weight + self.bias)

    def embed_texts(self, vectors: Floats) -> Floats:
        """BGE embeddings (n, d) -> (n, d), centred and L2-normalised."""
        return normalised(vectors - self.text_mean)


@dataclass(frozen=True)
class Material:
    """Everything that heads are fitted and measured on, computed once."""

    photos: Sequence[Photo]
    emoji: Sequence[Emoji]
    photo_features: Floats  # (photos, 2, f): as it is, mirrored
    emoji_features: Floats  # (emoji, variants, f): the first on white
    class_rows: Floats  # (classes, f): standardised rows of the ImageNet classifier
    class_words: Sequence[tuple[str, ...]]
    vectors: dict[str, Floats]

    def mean_vector(self, texts: Iterable[str]) -> Floats:
        """Mean BGE embedding (d,) of the texts."""
        mean: Floats = np.mean([self.vectors[text] for text in texts], axis=0)
        return mean

    def chosen(self, photos: Bools) -> list[Photo]:
        """The photos that the mask is true for, in order."""
        return [photo for photo, wanted in zip(self.photos, photos, strict=True) if wanted]

    def mask(self, *kinds: str) -> Bools:
        """Which photos are of these kinds."""
        return np.array([photo.kind in kinds for photo in self.photos])


@dataclass(frozen=True)
class Lesson:
    """Which part of the material a head is fitted on."""

    photos: Bools
    emoji: Bools
    classes: bool


@dataclass(frozen=True)
class RankFigures:
    """Average precision and precision per query that has something relevant."""

    average_precisions: Floats
    precisions: Floats

    @property
    def mean_average_precision(self) -> float:
        """mAP@100."""
        return float(self.average_precisions.mean())

    @property
    def precision(self) -> float:
        """P@10, over min(10, relevant) so that small classes can reach 1."""
        return float(self.precisions.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean average precision, over queries."""
        count = len(self.average_precisions)
        return float(self.average_precisions.std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0


def normalised(vectors: Floats) -> Floats:
    """Rows scaled to length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Floats = vectors / np.maximum(norms, 1e-12)
    return scaled


def ridge(pairs: Pairs, standard: Standard, penalty: float) -> tuple[Floats, Floats]:
    """Weight (f, d) and bias (d,) for bare features, minimising over standardised ones.

    sum_i w_i |z_i B + c - t_i|^2 + penalty |B|^2 with z the standardised features; the intercept c
    goes unpunished. The standardisation is folded into what is returned.
    """
    inputs = standard.apply(pairs.features)
    shares = pairs.weights[:, None] / pairs.weights.sum()
    input_mean, target_mean = (shares * inputs).sum(axis=0), (shares * pairs.targets).sum(axis=0)
    centred = inputs - input_mean
    weighted = centred * pairs.weights[:, None]
    gram = weighted.T @ centred + penalty * np.eye(centred.shape[1])
    slopes = np.linalg.solve(gram, weighted.T @ (pairs.targets - target_mean))
    return fold(slopes, target_mean - input_mean @ slopes, standard)


def fold(slopes: Floats, intercept: Floats, standard: Standard) -> tuple[Floats, Floats]:
    """(slopes, intercept) over standardised features -> (weight, bias) over bare ones."""
    weight = slopes / standard.deviation[:, None]
    return weight, intercept - standard.mean @ weight


def photo_target(material: Material, photo: Photo) -> Floats:
    """A blend of the title and the other words of the photo's class, not yet centred."""
    words = material.mean_vector(photo.words)
    return TITLE_SHARE * material.vectors[photo.title] + (1 - TITLE_SHARE) * words


def emoji_target(material: Material, emoji: Emoji) -> Floats:
    """A blend of the emoji's name and its other words, not yet centred."""
    words = material.mean_vector(emoji.words or (emoji.name,))
    return NAME_SHARE * material.vectors[emoji.name] + (1 - NAME_SHARE) * words


def variant_pairs(features: Floats, targets: Floats) -> Pairs:
    """Features (n, variants, f) against targets (n, d); the variants of one picture weigh 1."""
    count, variants, width = features.shape
    return Pairs(
        features.reshape(-1, width),
        np.repeat(targets, variants, axis=0),
        np.full(count * variants, 1 / variants),
    )


def class_pairs(material: Material, standard: Standard, length: float) -> Pairs:
    """Each ImageNet class as if seen once: its classifier row, scaled, stands for a picture."""
    features = standard.undo(normalised(material.class_rows) * length)
    targets = np.stack([material.mean_vector(words) for words in material.class_words])
    return Pairs(features, targets, np.ones(len(features)))


def fit(material: Material, lesson: Lesson, penalty: float) -> Head:
    """The head for one lesson; texts are centred on the titles of the photos in it."""
    photos = material.chosen(lesson.photos)
    emoji = [item for item, wanted in zip(material.emoji, lesson.emoji, strict=True) if wanted]
    features = material.photo_features[lesson.photos]
    standard = Standard.of(features[:, 0])
    taught = [variant_pairs(features, np.stack([photo_target(material, item) for item in photos]))]
    if emoji:
        targets = np.stack([emoji_target(material, item) for item in emoji])
        taught.append(variant_pairs(material.emoji_features[lesson.emoji], targets))
    if lesson.classes:
        length = float(np.linalg.norm(standard.apply(features[:, 0]), axis=1).mean())
        taught.append(class_pairs(material, standard, length * CLASS_LENGTH))
    text_mean = material.mean_vector(sorted({photo.title for photo in photos}))
    pairs = Pairs(
        np.concatenate([part.features for part in taught]),
        normalised(np.concatenate([part.targets for part in taught]) - text_mean),
        np.concatenate([part.weights for part in taught]),
    )
    return Head(*ridge(pairs, standard, penalty), text_mean)


def average_precision(relevant: Bools, depth: int = MAP_DEPTH) -> float:
    """Sum of the precision at each relevant rank up to depth, over min(relevant, depth)."""
    total = int(relevant.sum())
    if total == 0:
        return 0.0
    top = relevant[:depth]
    precisions = np.cumsum(top) / np.arange(1, len(top) + 1)
    return float((precisions * top).sum() / min(total, depth))


def precision(relevant: Bools, depth: int = PRECISION_DEPTH) -> float:
    """Hits up to depth, over min(relevant, depth)."""
    total = int(relevant.sum())
    return float(relevant[:depth].sum() / min(total, depth)) if total else 0.0


def rank_figures(scores: Floats, relevant: Bools) -> RankFigures:
    """Scores and relevance (queries, items), higher first; queries without relevant items drop."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(relevant, order, axis=1)
    ranked = ranked[ranked.any(axis=1)]
    return RankFigures(
        np.array([average_precision(row) for row in ranked]),
        np.array([precision(row) for row in ranked]),
    )


def image_to_image_precision(embeddings: Floats, labels: NDArray[np.int64]) -> float:
    """P@10 of images looked up by images of the same set, the query itself left out."""
    scores = embeddings @ embeddings.T
    relevant = labels[:, None] == labels[None, :]
    others = ~np.eye(len(labels), dtype=np.bool_)
    scores = scores[others].reshape(len(labels), -1)
    return rank_figures(scores, relevant[others].reshape(len(labels), -1)).precision


def recall_at(scores: Floats, correct: Sequence[int], depth: int) -> float:
    """Share of queries (rows) whose one correct item stands within the first `depth`."""
    columns = np.asarray(correct)
    own = scores[np.arange(len(columns)), columns]
    return float(((scores > own[:, None]).sum(axis=1) < depth).mean())


def largest_within_one_error(means: Sequence[float], errors: Sequence[float]) -> int:
    """Index of the last mean (penalties ascend) within one standard error of the best."""
    best = int(np.argmax(means))
    floor = means[best] - errors[best]
    return max(index for index, mean in enumerate(means) if mean >= floor)
