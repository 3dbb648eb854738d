"""The ridge that the report measures the starter against: published features to class titles."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image, ImageOps
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
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
from product_search.training.starter.text_space import Floats, l2_normalized

PENALTY = 1000.0
BATCH = 16
THREADS = 2


class Published(nn.Module):
    """EfficientNet-Lite0 as it was published: pixels -> features (n, FEATURES)."""

    def __init__(self, weights: Path) -> None:
        """Read the published weights."""
        super().__init__()
        source = read_efficientnet(weights)
        self.trunk, self.tail = Trunk(source), Tail(source)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map pixels (n, 3, 224, 224) to features (n, FEATURES)."""
        return self.tail.features(self.trunk(pixels))


class RidgeEncoder:
    """A ridge from standardised image features to BGE's space, centred on the mean class title."""

    def __init__(self, weights: Path, bge: BgeEncoder, photos: Sequence[Photo]) -> None:
        """Fit the ridge on the photos and their mirror images."""
        self._session = published_session(weights)
        self._bge = bge
        titles = sorted({photo.title for photo in photos})
        vectors = bge.encode_documents(titles).astype(np.float64)
        self._mean = vectors.mean(axis=0)
        targets = dict(zip(titles, l2_normalized(vectors - self._mean), strict=True))
        features = self._features(views(photos))
        self._scaler = StandardScaler().fit(features[::2])
        aims = np.stack([targets[photo.title] for photo in photos for _ in range(2)])
        # Each photo is seen twice, so the penalty counts twice too.
        self._ridge = Ridge(alpha=2 * PENALTY).fit(self._scaler.transform(features), aims)

    def encode_texts(self, texts: Sequence[str]) -> Matrix:
        """Encode texts as float32 (n, 512), L2-normalised."""
        vectors = self._bge.encode_documents(texts).astype(np.float64)
        return np.asarray(l2_normalized(vectors - self._mean), np.float32)

    def encode_images(self, images: Iterable[Image.Image]) -> Matrix:
        """Encode images as float32 (n, 512), L2-normalised."""
        embedded = self._ridge.predict(self._scaler.transform(self._features(images)))
        return np.asarray(l2_normalized(embedded), np.float32)

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
    """Open the published network, exported as the starter is."""
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "published.onnx"
        export(Published(weights), exported, ["features"])
        return open_session(exported, THREADS)


def views(photos: Sequence[Photo]) -> Iterable[Image.Image]:
    """Yield each photo and its mirror image, in order."""
    for photo in photos:
        image = open_image(photo.path)
        yield image
        yield ImageOps.mirror(image)
