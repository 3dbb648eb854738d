"""OFA-Sys Chinese-CLIP (AI-ModelScope/chinese-clip-vit-base-patch16): texts and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from product_search.encoders.bert import Bert
from product_search.encoders.bge import BATCH_TOKENS, BertNetwork
from product_search.encoders.checkpoints import (
    checkpoint_files,
    fingerprint,
    image_recipe,
    require_weights,
)
from product_search.encoders.embeddings import Matrix, normalised
from product_search.encoders.graph import INT8_RECIPE
from product_search.encoders.pixels import ImageProcessor
from product_search.encoders.precision import Precision
from product_search.encoders.queue import NetworkQueue
from product_search.encoders.tensors import Checkpoint
from product_search.encoders.tokens import Tokenizer, Tokens
from product_search.encoders.vit import Vit
from product_search.errors import EncoderError
from product_search.images.decoding import VERSION
from product_search.priority import giving_way

# What config.json leaves out, ChineseCLIPTextConfig and ChineseCLIPVisionConfig have as defaults.
_TOWER: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
_TEXTS: Mapping[str, Any] = {**_TOWER, "vocab_size": 30522, "max_position_embeddings": 512}
_IMAGES: Mapping[str, Any] = {
    **_TOWER,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
# Images encoded at once: on a CPU more are no faster, and a search waits for those before it.
_BATCH_IMAGES = {"cpu": 8, "cuda": 64}


class ImageNetwork(Protocol):
    """An image tower that a batch of pixels goes through."""

    side: int

    def embed(self, pixels: Sequence[Matrix]) -> Matrix:
        """Return float32 (n, dim) of images (channels, side, side) each; n is at least 1."""
        ...


class ChineseClipEncoder:
    """Image-text encoder: both towers of a Chinese-CLIP checkpoint."""

    def __init__(
        self,
        folder: Path,
        device: str = "cpu",
        batch_size: int | None = None,
        image_version: int = VERSION,
        precision: Precision = "float",
    ) -> None:
        """Load the checkpoint.

        Args:
            folder: where it is.
            device: where it runs in floating point; int8 always runs on the CPU.
            batch_size: images encoded at once; the device's own where it is None.
            image_version: the version of decoding whose vectors the encoder's are compared with.
            precision: what its dense layers are computed in.

        Raises:
            EncoderError: the checkpoint can't be used.
        """
        require_weights(folder)
        self._texts, self._images, self.dim = _open_towers(folder, device, precision)
        self._tokenizer = Tokenizer(folder, self._texts.limit)
        self._processor = ImageProcessor.read(folder, self._images.side)
        self._text_queue = NetworkQueue(
            "clip_text", self.tokenise, self.embed, self.dim, max_cost=BATCH_TOKENS, cost=len
        )
        images = batch_size or _BATCH_IMAGES[device]
        self._image_queue = NetworkQueue.of_images(self.pixels, self.embed_pixels, self.dim, images)
        recipe = image_recipe("chinese-clip:pooled", image_version)
        if precision == "int8":
            recipe = f"{recipe}:{INT8_RECIPE}"
        self.fingerprint = fingerprint(recipe, checkpoint_files(folder))

    def encode_texts(self, texts: Sequence[str]) -> Matrix:
        """Return float32 (n, dim), L2-normalised; texts are cut at the text tower's limit."""
        return self._text_queue.encode(texts)

    def encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        """Return float32 (n, dim), L2-normalised, of RGB images of any size."""
        return self._image_queue.encode(images)

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Return each text's tokens; any number of threads may do this at the same time."""
        return self._tokenizer.tokenise(texts)

    def embed(self, tokens: Sequence[Tokens]) -> Matrix:
        """Return float32 (n, dim), L2-normalised, of one batch of tokenised texts; n >= 1."""
        return normalised(self._texts.embed(tokens))

    def pixels(self, images: Sequence[Image.Image]) -> list[Matrix]:
        """Return each RGB image's pixels; any number of threads may do this at the same time."""
        return [self._processor.pixels(image) for image in images]

    def embed_pixels(self, pixels: Sequence[Matrix]) -> Matrix:
        """Return float32 (n, dim), L2-normalised, of one batch of images' pixels; n >= 1."""
        return normalised(self._images.embed(pixels))


def _open_towers(
    folder: Path, device: str, precision: Precision
) -> tuple[BertNetwork, ImageNetwork, int]:
    """Return the text tower, the image tower, and the dimensions of what both give."""
    if device != "cpu" and precision != "int8":
        from product_search.encoders.torch_clip import open_towers

        texts, images = open_towers(folder, device)
        return texts, images, texts.dim
    checkpoint = Checkpoint.read(folder)
    dim = int(checkpoint.config.get("projection_dim", 512))
    try:
        of_texts = checkpoint.tower("text_model.", _part(checkpoint, "text_config", _TEXTS))
        of_images = checkpoint.tower("vision_model.", _part(checkpoint, "vision_config", _IMAGES))
    except TypeError as error:
        raise EncoderError(f"{folder / 'config.json'} 无法读取：{error}") from error
    return (
        Bert(of_texts, precision, ("text_projection", dim)),
        giving_way(partial(Vit, of_images, precision, ("visual_projection", dim))),
        dim,
    )


def _part(checkpoint: Checkpoint, name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tower's part of the configuration; checkpoints of 2022 have it under two names."""
    config = checkpoint.config
    return {**defaults, **(config.get(name) or {}), **(config.get(f"{name}_dict") or {})}
