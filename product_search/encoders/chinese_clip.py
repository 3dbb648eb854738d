"""OFA-Sys Chinese-CLIP (AI-ModelScope/chinese-clip-vit-base-patch16): texts and images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoTokenizer, ChineseCLIPImageProcessorPil, ChineseCLIPModel

from product_search.encoders.checkpoints import (
    checkpoint_files,
    fingerprint,
    image_recipe,
    require_weights,
)
from product_search.encoders.embeddings import Matrix, in_batches
from product_search.encoders.pretrained import load_model, to_matrix, tokenise
from product_search.images.decoding import VERSION


class ChineseClipEncoder:
    """Image-text encoder: both towers of a Chinese-CLIP checkpoint."""

    def __init__(
        self,
        folder: Path,
        device: str = "cpu",
        batch_size: int = 32,
        image_version: int = VERSION,
    ) -> None:
        """Load the checkpoint.

        Args:
            folder: where it is.
            device: where it runs.
            batch_size: texts or images encoded at once.
            image_version: the version of decoding whose vectors the encoder's are compared with.

        Raises:
            EncoderError: the checkpoint can't be used.
        """
        require_weights(folder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._processor: Any = ChineseCLIPImageProcessorPil.from_pretrained(
            folder, local_files_only=True
        )
        self._model: Any = load_model(ChineseCLIPModel, folder, device)
        self._device = device
        self._batch_size = batch_size
        self._limit = int(self._model.config.text_config.max_position_embeddings)
        self.dim = int(self._model.config.projection_dim)
        recipe = image_recipe("chinese-clip:pooled", image_version)
        self.fingerprint = fingerprint(recipe, checkpoint_files(folder))

    def encode_texts(self, texts: Sequence[str]) -> Matrix:
        """Return float32 (n, dim), L2-normalised; texts are cut at the text tower's limit."""
        return in_batches(texts, self._batch_size, self.dim, self._encode_texts)

    def encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        """Return float32 (n, dim), L2-normalised, of RGB images of any size."""
        return in_batches(images, self._batch_size, self.dim, self._encode_images)

    @torch.inference_mode()
    def _encode_texts(self, texts: Sequence[str]) -> Matrix:
        tokens = tokenise(self._tokenizer, texts, self._limit, self._device)
        return to_matrix(self._model.get_text_features(**tokens).pooler_output)

    @torch.inference_mode()
    def _encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        pixels = pixels.to(self._device, self._model.dtype)
        return to_matrix(self._model.get_image_features(pixel_values=pixels).pooler_output)
