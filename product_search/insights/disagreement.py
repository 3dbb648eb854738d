"""How far a product's image and title disagree, beside what is usual in the catalog."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Keys = NDArray[np.int64]

NEAREST = 10  # images and titles of the sample that make up what is usual


@dataclass(frozen=True)
class ImageTitlePairs:
    """Vectors of the images and of the titles of the same n products.

    Attributes:
        keys: int64 (n,), which tell the products apart.
        images: float32 (n, dim), of unit length.
        titles: float32 (n, dim), of unit length.
    """

    keys: Keys
    images: Floats
    titles: Floats

    @property
    def scores(self) -> Floats:
        """The cosine of each product's image and title, float32 (n,)."""
        return np.asarray(np.einsum("nd,nd->n", self.images, self.titles))


def relative_scores(pairs: ImageTitlePairs, sample: ImageTitlePairs) -> Floats:
    """Return each pair's score less what is usual for it, float32 (n,): low where it disagrees.

    What is usual is the mean of the image's best cosines with titles of the sample, and of the
    title's best cosines with images of the sample, the product's own left out. So an image of a
    rare thing, or a bad photo, which goes with little, does not count as wrong; an image that
    other titles fit as well or better does (decision 0016).
    """
    own = pairs.keys[:, None] == sample.keys[None, :]
    nearest = min(NEAREST, len(sample.keys) - 1)
    if nearest < 1:
        return pairs.scores
    for_images = _best(pairs.images @ sample.titles.T, own, nearest)
    for_titles = _best(pairs.titles @ sample.images.T, own, nearest)
    return np.asarray(pairs.scores - (for_images + for_titles) / 2)


def _best(cosines: Floats, own: NDArray[np.bool_], nearest: int) -> Floats:
    """Average the highest cosines in each row, a product's own left out."""
    others = np.where(own, np.float32(-np.inf), cosines)
    best = np.partition(others, -nearest, axis=1)[:, -nearest:]
    return np.asarray(best.mean(axis=1))
