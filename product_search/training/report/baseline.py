"""The plain ridge that the report measures the starter against: features of the published network,
one linear map to the class titles, photos alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image, ImageOps
from torch import nn

from product_search.encoders.bge import BgeEncoder
from product_search.encoders.embeddings import Matrix
from product_search.encoders.starter import network_pixels
from product_search.training.starter.images import Photo, open_image
from product_search.training.starter.network import (
    Tail,
    Trunk,
    export,
    open_session,
    read_efficientnet,
)
from product_search.training.starter.ridge import Standard, ridge
from product_search.training.starter.text_space import Floats, normalised

PENALTY = 1000.0
BATCH = 16
THREADS = 2


class Published(nn.Module):
    """Pixels -> features (n, FEATURES) of EfficientNet-Lite0 as it was published."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        source = read_efficientnet(weights)
        self.trunk, self.tail = Trunk(source), Tail(source)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (n, 3, 224, 224) -> (n, FEATURES)."""
        return self.tail.features(self.trunk(pixels))


class RidgeEncoder:
    """Image features -> standardised -> BGE's space, centred on the mean class title."""

    def __init__(self, weights: Path, bge: BgeEncoder, photos: Sequence[Photo]) -> None:
        self._session = published_session(weights)
        self._bge = bge
        titles = sorted({photo.title for photo in photos})
        vectors = bge.encode_documents(titles).astype(np.float64)
        self._mean = vectors.mean(axis=0)
        targets = dict(zip(titles, normalised(vectors - self._mean), strict=True))
        shown = self._features(views(photos))
        self._standard = Standard.of(shown[::2])
        aims = np.stack([targets[photo.title] for photo in photos for _ in range(2)])
        # Each photo is seen twice, so the penalty counts twice too.
        self._slopes, self._intercept = ridge(self._standard.apply(shown), aims, 2 * PENALTY)

    def encode_texts(self, texts: Sequence[str]) -> Matrix:
        """Float32 (n, 512), L2-normalised."""
        vectors = self._bge.encode_documents(texts).astype(np.float64)
        return np.asarray(normalised(vectors - self._mean), np.float32)

    def encode_images(self, images: Iterable[Image.Image]) -> Matrix:
        """Float32 (n, 512), L2-normalised."""
        embedded = self._standard.apply(self._features(images)) @ self._slopes + self._intercept
        return np.asarray(normalised(embedded), np.float32)

    def _features(self, images: Iterable[Image.Image]) -> Floats:
        parts, waiting = [], []
        for image in images:
            waiting.append(image)
            if len(waiting) == BATCH:
                parts.append(self._run(waiting))
                waiting = []
        if waiting:
            parts.append(self._run(waiting))
        return np.concatenate(parts).astype(np.float64)

    def _run(self, images: Sequence[Image.Image]) -> Matrix:
        (features,) = self._session.run(["features"], {"pixels": network_pixels(images)})
        return np.asarray(features, np.float32)


def published_session(weights: Path) -> onnxruntime.InferenceSession:
    """The published network, exported as the starter is."""
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "published.onnx"
        export(Published(weights), exported, ["features"])
        return open_session(exported, THREADS)


def views(photos: Sequence[Photo]) -> Iterable[Image.Image]:
    """Each photo and its mirror image, in order."""
    for photo in photos:
        picture = open_image(photo.path)
        yield picture
        yield ImageOps.mirror(picture)
