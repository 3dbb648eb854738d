"""Chinese-CLIP's towers on a GPU, by PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import ChineseCLIPModel

from product_search.encoders.embeddings import Matrix
from product_search.encoders.pretrained import load_model, to_device, to_matrix
from product_search.encoders.tokens import Tokens
from product_search.encoders.torch_bert import padded


class TorchTexts:
    """The text tower, projected."""

    def __init__(self, model: Any, device: str) -> None:
        """Take the text tower of a ChineseCLIPModel."""
        self._model = model
        self._device = device
        self.limit = int(model.config.text_config.max_position_embeddings)
        self.dim = int(model.config.projection_dim)

    @torch.inference_mode()
    def embed(self, tokens: Sequence[Tokens]) -> Matrix:
        """Return float32 (n, dim), the state of each text's first token; n is at least 1."""
        inputs = padded(tokens, self._device)
        return to_matrix(self._model.get_text_features(**inputs).pooler_output)


class TorchImages:
    """The image tower, projected."""

    def __init__(self, model: Any, device: str) -> None:
        """Take the image tower of a ChineseCLIPModel."""
        self._model = model
        self._device = device
        self.side = int(model.config.vision_config.image_size)
        self.dim = int(model.config.projection_dim)

    @torch.inference_mode()
    def embed(self, pixels: Sequence[Matrix]) -> Matrix:
        """Return float32 (n, dim) of images (channels, side, side) each; n is at least 1."""
        batch = torch.stack([torch.from_numpy(one) for one in pixels])
        batch = to_device(batch.to(self._model.dtype), self._device)  # half the bytes to copy
        return to_matrix(self._model.get_image_features(pixel_values=batch).pooler_output)


def open_towers(folder: Path, device: str) -> tuple[TorchTexts, TorchImages]:
    """Load both towers of a checkpoint of ChineseCLIPModel. Raises EncoderError."""
    model = load_model(ChineseCLIPModel, folder, device)
    return TorchTexts(model, device), TorchImages(model, device)
