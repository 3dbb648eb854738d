"""Principal components of more vectors than fit in memory, read a batch at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


class Plane(NamedTuple):
    """The plane in which vectors differ most.

    Attributes:
        mean: of the vectors, (dim,).
        axes: two unit vectors, (2, dim).
        explained: the share of all variance along each axis.
    """

    mean: Doubles
    axes: Doubles
    explained: tuple[float, float]

    def project(self, vectors: Floats) -> Doubles:
        """Return the places (n, 2) in the plane of vectors (n, dim)."""
        rows = vectors.reshape(len(vectors), len(self.mean))  # also where there are none
        return np.asarray((rows - self.mean) @ self.axes.T)


class Covariance:
    """The covariance of vectors that come in batches: dim² sums, however many vectors."""

    def __init__(self) -> None:
        """Begin without any vector."""
        self.count = 0
        self._sum: Doubles = np.zeros(0)
        self._products: Doubles = np.zeros((0, 0))

    def add(self, vectors: Floats) -> None:
        """Count in a batch (n, dim), which may be empty."""
        if not len(vectors):
            return
        batch = vectors.astype(np.float64)
        if not self.count:
            dim = batch.shape[1]
            self._sum, self._products = np.zeros(dim), np.zeros((dim, dim))
        self.count += len(batch)
        self._sum += batch.sum(axis=0)
        self._products += batch.T @ batch

    def plane(self) -> Plane:
        """Return the plane; axes are signed so that their largest part is positive.

        Where vectors don't differ in two directions, the axes left over explain nothing.
        """
        if not self.count:
            return Plane(np.zeros(0), np.zeros((2, 0)), (0.0, 0.0))
        mean = self._sum / self.count
        covariance = self._products / self.count - np.outer(mean, mean)
        values, vectors = np.linalg.eigh(covariance)
        axes = vectors.T[:-3:-1]
        largest = np.abs(axes).argmax(axis=1)
        axes = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
        variance = values.clip(0)
        total = float(variance.sum())
        first, second = (float(value) / total if total > 0 else 0.0 for value in variance[:-3:-1])
        return Plane(mean, axes, (first, second))
