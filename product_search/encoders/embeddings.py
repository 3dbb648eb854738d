"""Embeddings as all encoders give them: float32 rows of length 1, batch by batch, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Item = TypeVar("Item")


def normalised(vectors: Matrix) -> Matrix:
    """Scale each row to length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)


def in_batches(
    items: Sequence[Item], size: int, dim: int, encode: Callable[[Sequence[Item]], Matrix]
) -> Matrix:
    """Encode `items` in batches of `size`; return float32 (n, dim), L2-normalised, order kept."""
    parts = [encode(items[start : start + size]) for start in range(0, len(items), size)]
    return normalised(np.concatenate(parts)) if parts else np.zeros((0, dim), np.float32)
