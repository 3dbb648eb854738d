"""The space that texts and images share: BGE's, turned so that names of one thing lie close."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from product_search.training.starter.words import Names

Floats = NDArray[np.float64]

DIMENSIONS = 500  # with twelve for colours they fill a vector of 512
SHRINKAGE = 0.3  # of the within-thing scatter towards a multiple of the identity
TITLE_SHARE = 0.35  # of a thing's target; its other names share the rest


@dataclass(frozen=True)
class TextSpace:
    """BGE document embedding -> normalise((embedding - mean) @ turn); turn is (d, DIMENSIONS)."""

    vectors: Mapping[str, Floats]
    mean: Floats
    turn: Floats

    def embed(self, texts: Iterable[str]) -> Floats:
        """(n, DIMENSIONS), L2-normalised; every text must be among `vectors`."""
        return normalised(
            (np.stack([self.vectors[text] for text in texts]) - self.mean) @ self.turn
        )

    def target(self, names: Names) -> Floats:
        """(DIMENSIONS,) what an image of the thing with these names should be embedded as."""
        shares = name_shares(names)
        return normalised(np.asarray(list(shares.values())) @ self.embed(shares))


def name_shares(names: Names) -> dict[str, float]:
    """How much each name of a thing weighs: the first most, the others alike; sums to 1."""
    others = names[1:]
    shares = dict.fromkeys(others, (1 - TITLE_SHARE) / len(others)) if others else {}
    return {names[0]: TITLE_SHARE if others else 1.0, **shares}


def normalised(vectors: Floats) -> Floats:
    """Rows scaled to length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Floats = vectors / np.maximum(norms, 1e-12)
    return scaled


def fit_text_space(
    vectors: Mapping[str, Floats], titles: Sequence[str], things: Sequence[Names]
) -> TextSpace:
    """A linear discriminant: directions in which the names of one thing differ are shortened.

    Args:
        vectors: BGE document embeddings of all texts.
        titles: the space is centred on the mean of these.
        things: the names of each thing.
    """
    mean = np.mean([vectors[title] for title in titles], axis=0)
    several = [np.stack([vectors[name] for name in names]) for names in things if len(names) > 1]
    scatter = np.concatenate([group - group.mean(axis=0) for group in several])
    within = scatter.T @ scatter / len(scatter)
    size = len(within)
    within += SHRINKAGE * np.trace(within) / size * np.eye(size)
    whitening = np.linalg.cholesky(np.linalg.inv(within))
    texts = sorted({name for names in things for name in names})
    turned = normalised((np.stack([vectors[text] for text in texts]) - mean) @ whitening)
    # Ascending eigenvalues: the last columns hold what tells the names apart.
    _, directions = np.linalg.eigh(turned.T @ turned)
    turn: Floats = whitening @ directions[:, ::-1][:, :DIMENSIONS]
    return TextSpace(vectors, mean, turn)
