"""How well a product's image and its title go together beside what else is in the catalog."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Keys = NDArray[np.int64]

NEAREST = 10  # of the sample, that a pair is held against


@dataclass(frozen=True)
class Pairs:
    """Pictures and titles of the same products, side by side.

    Vectors are float32 (n, dim), unit; `keys` int64 (n,) tell the products apart.
    """

    keys: Keys
    pictures: Floats
    titles: Floats

    @property
    def scores(self) -> Floats:
        """Cosines of each product's image and title, float32 (n,)."""
        return np.asarray(np.einsum("nd,nd->n", self.pictures, self.titles))


def standings(pairs: Pairs, sample: Pairs) -> Floats:
    """Scores less what is usual: float32 (n,), the lower the more a pair stands out.

    What is usual is the mean of the image's best cosines with titles of the sample, and of the
    title's with its images, a product's own left out. So an image that goes with little, of a
    rare thing or badly taken, is not taken for a wrong one; and one that other titles fit as
    well or better is (decision 0016).
    """
    own = pairs.keys[:, None] == sample.keys[None, :]
    nearest = min(NEAREST, len(sample.keys) - 1)
    if nearest < 1:
        return pairs.scores
    for_images = _best(pairs.pictures @ sample.titles.T, own, nearest)
    for_titles = _best(pairs.titles @ sample.pictures.T, own, nearest)
    return np.asarray(pairs.scores - (for_images + for_titles) / 2)


def _best(cosines: Floats, own: NDArray[np.bool_], nearest: int) -> Floats:
    """The mean of the highest in each row, but for a product with itself."""
    others = np.where(own, np.float32(-np.inf), cosines)
    best = np.partition(others, -nearest, axis=1)[:, -nearest:]
    return np.asarray(best.mean(axis=1))
