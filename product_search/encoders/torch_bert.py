"""BERT on a GPU, by PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import BertModel

from product_search.encoders.embeddings import Matrix
from product_search.encoders.pretrained import load_model, to_matrix
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
        rows = [torch.from_numpy(one) for one in tokens]
        padded = pad_sequence(rows, batch_first=True).to(self._device)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        states = self._model(input_ids=padded, attention_mask=mask.to(self._device))
        return to_matrix(states.last_hidden_state[:, 0])
