"""BERT on a GPU, by PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import BertModel

from product_search.encoders.embeddings import Matrix
from product_search.encoders.pretrained import load_model, to_device, to_matrix
from product_search.encoders.tokens import Tokens


class TorchBert:
    """A BERT whose first token stands for the text."""

    def __init__(self, folder: Path, device: str) -> None:
        """Load a checkpoint of BertModel. Raises EncoderError."""
        self._model: Any = load_model(BertModel, folder, device, add_pooling_layer=False)
        self._device = device
        self.limit = int(self._model.config.max_position_embeddings)
        self.dim = int(self._model.config.hidden_size)

    @torch.inference_mode()
    def embed(self, tokens: Sequence[Tokens]) -> Matrix:
        """Return float32 (n, dim), the state of each text's first token; n is at least 1."""
        states = self._model(**padded(tokens, self._device))
        return to_matrix(states.last_hidden_state[:, 0])


def padded(tokens: Sequence[Tokens], device: str) -> dict[str, torch.Tensor]:
    """Return the texts' tokens as a model's inputs on the device, each as long as the longest."""
    rows = [torch.from_numpy(one) for one in tokens]
    ids = pad_sequence(rows, batch_first=True)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return {"input_ids": to_device(ids, device), "attention_mask": to_device(mask, device)}
