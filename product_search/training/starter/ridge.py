"""Ridge regression from image features to text embeddings: the start of the head, and what the
report measures everything against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from product_search.training.starter.text_space import Floats


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


def ridge(inputs: Floats, targets: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Slopes (f, d) and intercept (d,) that minimise |X B + c - T|^2 + penalty |B|^2.

    Inputs are (n, f), targets (n, d); the intercept goes unpunished.
    """
    input_mean, target_mean = inputs.mean(axis=0), targets.mean(axis=0)
    centred = inputs - input_mean
    gram = centred.T @ centred + penalty * np.eye(centred.shape[1])
    slopes = np.linalg.solve(gram, centred.T @ (targets - target_mean))
    return slopes, target_mean - input_mean @ slopes
