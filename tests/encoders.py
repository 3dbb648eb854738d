"""Encoders that are quick: vectors that only tell texts and images apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from nlp_models import EncoderPair
from product_search.encoders.embeddings import Matrix
from product_search.errors import EncoderError

DIM = 8


class HashEncoder:
    """TextEncoder and ImageTextEncoder at once, by digests."""

    fingerprint = "hash"
    dim = DIM

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        """See TextEncoder."""
        return self._encode([text.encode() for text in texts])

    def encode_documents(self, texts: Sequence[str]) -> Matrix:
        """See TextEncoder."""
        return self.encode_queries(texts)

    def encode_texts(self, texts: Sequence[str]) -> Matrix:
        """See ImageTextEncoder."""
        return self.encode_queries(texts)

    def encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        """See ImageTextEncoder."""
        return self._encode([image.tobytes() for image in images])

    def _encode(self, contents: Sequence[bytes]) -> Matrix:
        digests = [hashlib.sha256(content).digest()[:DIM] for content in contents]
        rows = np.array([list(digest) for digest in digests], np.float32).reshape(-1, DIM) + 1
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def quick_encoders() -> EncoderPair:
    """A pair of them."""
    return EncoderPair("hash", HashEncoder(), HashEncoder(), "cpu")


class OnePair:
    """See EncoderSource in indexing.collections: the only encoders that there are."""

    def __init__(self, pair: EncoderPair) -> None:
        self.pair = pair

    def load_chosen(self) -> EncoderPair:
        """See EncoderSource."""
        return self.pair

    def load_named(self, name: str) -> EncoderPair:
        """See EncoderSource."""
        return self.load_matching(name, self.pair.fingerprint)

    def load_matching(self, name: str | None, fingerprint: str) -> EncoderPair:
        """See EncoderSource."""
        if (name, fingerprint) != (self.pair.name, self.pair.fingerprint):
            raise EncoderError(f"no {name} {fingerprint}")
        return self.pair
