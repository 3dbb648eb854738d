"""The space of texts and images: BGE's, projected so that names of a concept lie close."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from product_search.training.starter.words import Names

Floats = NDArray[np.float64]

DIMENSIONS = 500  # with twelve for colours they fill a vector of 512
SHRINKAGE = 0.3  # of the within-concept scatter towards a multiple of the identity
TITLE_SHARE = 0.35  # of a concept's target; its other names share the rest


@dataclass(frozen=True)
class TextSpace:
    """BGE document embeddings, centred, projected by (d, DIMENSIONS) and L2-normalised."""

    vectors: Mapping[str, Floats]
    mean: Floats
    projection: Floats

    def embed(self, texts: Iterable[str]) -> Floats:
        """Embed texts as (n, DIMENSIONS), L2-normalised; each must be among `vectors`."""
        return l2_normalized(
            (np.stack([self.vectors[text] for text in texts]) - self.mean) @ self.projection
        )

    def target(self, names: Names) -> Floats:
        """Return the target (DIMENSIONS,) of images of the concept with these names."""
        shares = name_weights(names)
        return l2_normalized(np.asarray(list(shares.values())) @ self.embed(shares))


def name_weights(names: Names) -> dict[str, float]:
    """Weigh a concept's names: the first most, the others alike; the weights sum to 1."""
    others = names[1:]
    shares = dict.fromkeys(others, (1 - TITLE_SHARE) / len(others)) if others else {}
    return {names[0]: TITLE_SHARE if others else 1.0, **shares}


def l2_normalized(vectors: Floats) -> Floats:
    """Scale rows to length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Floats = vectors / np.maximum(norms, 1e-12)
    return scaled


def fit_text_space(
    vectors: Mapping[str, Floats], titles: Sequence[str], concepts: Sequence[Names]
) -> TextSpace:
    """Fit a linear discriminant, which shortens directions in which names of a concept differ.

    Args:
        vectors: BGE document embeddings of all texts.
        titles: the space is centred on the mean of these.
        concepts: the names of each concept.
    """
    mean = np.mean([vectors[title] for title in titles], axis=0)
    several = [np.stack([vectors[name] for name in names]) for names in concepts if len(names) > 1]
    scatter = np.concatenate([group - group.mean(axis=0) for group in several])
    within = scatter.T @ scatter / len(scatter)
    size = len(within)
    within += SHRINKAGE * np.trace(within) / size * np.eye(size)
    whitening = np.linalg.cholesky(np.linalg.inv(within))
    texts = sorted({name for names in concepts for name in names})
    whitened = l2_normalized((np.stack([vectors[text] for text in texts]) - mean) @ whitening)
    # Ascending eigenvalues: the last columns hold what tells the names apart.
    _, directions = np.linalg.eigh(whitened.T @ whitened)
    projection: Floats = whitening @ directions[:, ::-1][:, :DIMENSIONS]
    return TextSpace(vectors, mean, projection)
