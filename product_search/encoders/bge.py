"""BAAI/bge-small-zh-v1.5: Chinese texts, queries apart from documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BertModel

from product_search.encoders.checkpoints import checkpoint_files, fingerprint, require_weights
from product_search.encoders.embeddings import Matrix, in_batches
from product_search.encoders.pretrained import load_model, to_matrix, tokenise

# BAAI's model card: put before a short query, never before a document.
QUERY_INSTRUCTION = "为这个句子生成表示以用于检索相关文章："


class BgeEncoder:
    """Text encoder: the CLS state of a BERT, with an instruction before queries."""

    def __init__(self, folder: Path, device: str = "cpu", batch_size: int = 32) -> None:
        """Load the checkpoint in `folder`. Raises EncoderError where it can't be used."""
        require_weights(folder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model: Any = load_model(BertModel, folder, device, add_pooling_layer=False)
        self._device = device
        self._batch_size = batch_size
        self._limit = int(self._model.config.max_position_embeddings)
        self.dim = int(self._model.config.hidden_size)
        recipe = f"bge:lower:cls:{QUERY_INSTRUCTION}"
        self.fingerprint = fingerprint(recipe, checkpoint_files(folder))

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        """Return float32 (n, dim), L2-normalised, of the instruction followed by each text."""
        return self.encode_documents([QUERY_INSTRUCTION + text for text in texts])

    def encode_documents(self, texts: Sequence[str]) -> Matrix:
        """Return float32 (n, dim), L2-normalised; texts are cut at the model's 512 tokens."""
        return in_batches(texts, self._batch_size, self.dim, self._encode)

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str]) -> Matrix:
        # Its vocabulary is lower case, and not every copy of its tokenizer knows that: to a copy
        # that does not, GodMorgon and XR-200 are the same unknown word.
        lower = [text.lower() for text in texts]
        tokens = tokenise(self._tokenizer, lower, self._limit, self._device)
        return to_matrix(self._model(**tokens).last_hidden_state[:, 0])
