"""BAAI/bge-small-zh-v1.5: Chinese texts, queries apart from documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from product_search.encoders.bert import Bert
from product_search.encoders.checkpoints import checkpoint_files, fingerprint, require_weights
from product_search.encoders.embeddings import Matrix, normalised
from product_search.encoders.graph import INT8_RECIPE
from product_search.encoders.precision import Precision
from product_search.encoders.queue import NetworkQueue
from product_search.encoders.tensors import Checkpoint
from product_search.encoders.tokens import Tokenizer, Tokens

# BAAI's model card: put before a short query, never before a document.
QUERY_INSTRUCTION = "为这个句子生成表示以用于检索相关文章："
BATCH_TOKENS = 1024  # some 35 queries, or two documents of the greatest length


class BertNetwork(Protocol):
    """A BERT that a batch of tokens goes through."""

    dim: int
    limit: int

    def embed(self, tokens: Sequence[Tokens]) -> Matrix:
        """Return float32 (n, dim), the state of each text's first token; n is at least 1."""
        ...


class BgeEncoder:
    """Text encoder: the CLS state of a BERT, with an instruction before queries."""

    def __init__(
        self,
        folder: Path,
        device: str = "cpu",
        batch_tokens: int = BATCH_TOKENS,
        precision: Precision = "float",
    ) -> None:
        """Load the checkpoint.

        Args:
            folder: where it is.
            device: where it runs in floating point; int8 always runs on the CPU.
            batch_tokens: tokens encoded at once, or one text that has more.
            precision: what its dense layers are computed in.

        Raises:
            EncoderError: the checkpoint can't be used.
        """
        require_weights(folder)
        self._network = _open_network(folder, device, precision)
        self._tokenizer = Tokenizer(folder, self._network.limit)
        self.dim = self._network.dim
        self._queue = NetworkQueue(
            "text", self.tokenise, self.embed, self.dim, max_cost=batch_tokens, cost=len
        )
        recipe = f"bge:lower:cls:{QUERY_INSTRUCTION}"
        if precision == "int8":
            recipe = f"{recipe}:{INT8_RECIPE}"
        self.fingerprint = fingerprint(recipe, checkpoint_files(folder))

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        """Return float32 (n, dim), L2-normalised, of the instruction followed by each text."""
        return self.encode_documents([QUERY_INSTRUCTION + text for text in texts])

    def encode_documents(self, texts: Sequence[str]) -> Matrix:
        """Return float32 (n, dim), L2-normalised; texts are cut at the model's 512 tokens."""
        return self._queue.encode(texts)

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Return each text's tokens; any number of threads may do this at the same time."""
        # Its vocabulary is lower case, and not every copy of its tokenizer knows that: to a copy
        # that does not, GodMorgon and XR-200 are the same unknown word.
        return self._tokenizer.tokenise([text.lower() for text in texts])

    def embed(self, tokens: Sequence[Tokens]) -> Matrix:
        """Return float32 (n, dim), L2-normalised, of one batch of tokenised texts; n >= 1."""
        return normalised(self._network.embed(tokens))


def _open_network(folder: Path, device: str, precision: Precision) -> BertNetwork:
    if device == "cpu" or precision == "int8":
        return Bert(Checkpoint.read(folder, prefix="bert."), precision)
    from product_search.encoders.torch_bert import TorchBert

    return TorchBert(folder, device)
