"""How near an encoder in int8 is to the same weights in PyTorch's float32."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from product_search.encoders.bge import BgeEncoder
from product_search.encoders.chinese_clip import ChineseClipEncoder
from product_search.encoders.embeddings import Matrix, normalised

# Below either, int8 is another encoder, and not the same one in other numbers.
LEAST_MEAN = 0.99
LEAST = 0.97
_IMAGES = 64
_BATCH = 8


@dataclass(frozen=True)
class Agreement:
    """Cosines between the embeddings of one thing by both encoders."""

    mean: float
    least: float
    count: int

    @classmethod
    def between(cls, vectors: Matrix, exact: Matrix) -> Agreement:
        """Compare rows of length 1 with each other."""
        cosines = (vectors * exact).sum(axis=1)
        return cls(float(cosines.mean()), float(cosines.min()), len(cosines))

    @property
    def is_close(self) -> bool:
        """Whether int8 may stand for float32."""
        return self.mean >= LEAST_MEAN and self.least >= LEAST


def bge_agreement(folder: Path, texts: Sequence[str]) -> Agreement:
    """Compare a BGE checkpoint's int8 with PyTorch. Raises EncoderError."""
    from product_search.encoders.torch_bert import TorchBert

    encoder, exact = BgeEncoder(folder, precision="int8"), TorchBert(folder, "cpu")
    tokens = encoder.tokenise(texts)
    both = [(encoder.embed([one]), normalised(exact.embed([one]))) for one in tokens]
    return _of(both)


def clip_agreement(
    folder: Path, texts: Sequence[str], images: Sequence[Image.Image]
) -> tuple[Agreement, Agreement]:
    """Compare a Chinese-CLIP checkpoint's int8 with PyTorch: texts, images. Raises EncoderError."""
    from product_search.encoders.torch_clip import open_towers

    encoder = ChineseClipEncoder(folder, precision="int8")
    of_texts, of_images = open_towers(folder, "cpu")
    tokens, pixels = encoder.tokenise(texts), encoder.pixels(images)
    return (
        _of([(encoder.embed([one]), normalised(of_texts.embed([one]))) for one in tokens]),
        _of(
            [
                (encoder.embed_pixels(batch), normalised(of_images.embed(batch)))
                for batch in (pixels[i : i + _BATCH] for i in range(0, len(pixels), _BATCH))
            ]
        ),
    )


def _of(batches: Sequence[tuple[Matrix, Matrix]]) -> Agreement:
    vectors, exact = (np.concatenate(rows) for rows in zip(*batches, strict=True))
    return Agreement.between(vectors, exact)


def sample_texts(root: Path) -> list[str]:
    """Return the titles of the sample catalogue."""
    with (root / "sample_data" / "catalog.csv").open(encoding="utf-8") as stream:
        return [row["title"] for row in csv.DictReader(stream)]


def sample_images(root: Path) -> list[Image.Image]:
    """Return some of the sample catalogue's pictures, in RGB."""
    paths = sorted((root / "sample_data" / "images").glob("*.webp"))
    return [Image.open(path).convert("RGB") for path in paths[:: max(1, len(paths) // _IMAGES)]]
