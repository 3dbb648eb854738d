"""BERT on a CPU: a checkpoint as an ONNX graph over tokens without padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from product_search.encoders.embeddings import Matrix
from product_search.encoders.graph import Graph
from product_search.encoders.precision import Precision
from product_search.encoders.tensors import Checkpoint
from product_search.encoders.tokens import Tokens
from product_search.errors import EncoderError

# Dense layers see the tokens of all texts one after the other, (n, width); attention sees a row
# of places for each text, (texts, places, width), what lies beyond a text's end masked.
_INPUTS = (
    ("tokens", TensorProto.INT64, ["n"]),
    ("positions", TensorProto.INT64, ["n"]),
    ("places", TensorProto.INT64, ["texts", "places"]),  # each place's token
    ("unpadded", TensorProto.INT64, ["n"]),  # each token's place
    ("first", TensorProto.INT64, ["texts"]),  # each text's first token
    ("lengths", TensorProto.INT32, ["texts"]),
)


class Bert:
    """A BERT whose first token stands for the text."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        precision: Precision,
        projection: tuple[str, int] | None = None,
    ) -> None:
        """Build the network.

        Args:
            checkpoint: a BertModel's.
            precision: what its dense layers are computed in.
            projection: name and width of a layer after the network, without a bias.

        Raises:
            EncoderError: the checkpoint can't be used.
        """
        config = checkpoint.config
        if config.get("hidden_act", "gelu") != "gelu":
            raise EncoderError(f"{checkpoint.folder}：不支持激活函数 {config['hidden_act']}")
        self.limit = int(config["max_position_embeddings"])
        self.dim = projection[1] if projection else int(config["hidden_size"])
        builder = _Builder(checkpoint, precision)
        self._session = builder.graph.open(_INPUTS, builder.build(projection), self.dim)

    def embed(self, tokens: Sequence[Tokens]) -> Matrix:
        """Return float32 (n, dim), the state of each text's first token; n is at least 1."""
        lengths = np.array([len(one) for one in tokens], np.int32)
        first = np.cumsum(lengths, dtype=np.int64) - lengths
        offsets = np.arange(lengths.max(), dtype=np.int64)
        is_token = offsets < lengths[:, None]
        inputs = {
            "tokens": np.concatenate(tokens),
            "positions": np.broadcast_to(offsets, is_token.shape)[is_token],
            "places": first[:, None] + np.minimum(offsets, lengths[:, None] - 1),
            "unpadded": np.flatnonzero(is_token),
            "first": first,
            "lengths": lengths,
        }
        (states,) = self._session.run(["output"], inputs)
        return np.asarray(states, np.float32)


class _Builder:
    """The layers of a BERT, added to a graph one after the other."""

    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None:
        self.graph = Graph(checkpoint, precision)
        config = checkpoint.config
        self._width = int(config["hidden_size"])
        self._inner = int(config["intermediate_size"])
        self._heads = int(config["num_attention_heads"])
        self._layers = int(config["num_hidden_layers"])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._vocabulary = int(config["vocab_size"])
        self._positions = int(config["max_position_embeddings"])
        self._types = checkpoint.tensor(
            "embeddings.token_type_embeddings.weight",
            int(config.get("type_vocab_size", 2)),
            self._width,
        )

    def build(self, projection: tuple[str, int] | None) -> str:
        """Add all layers; return the states of the first tokens, projected if there is a layer."""
        rows = self._embeddings()
        for number in range(self._layers):
            # After the last layer nobody looks at the other tokens.
            rows = self._layer(f"encoder.layer.{number}", rows, is_last=number == self._layers - 1)
        if projection is None:
            return rows
        return self.graph.dense(rows, self._width, projection, bias=False, is_exact=True)

    def _embeddings(self) -> str:
        graph, width = self.graph, self._width
        words = graph.embedding(
            "embeddings.word_embeddings.weight", "tokens", self._vocabulary, width
        )
        positions = graph.embedding(
            "embeddings.position_embeddings.weight", "positions", self._positions, width
        )
        kind = graph.constant("token type", self._types[0])
        total = graph.node("Add", graph.node("Add", words, positions), kind)
        return graph.norm(total, "embeddings.LayerNorm", width, self._epsilon)

    def _layer(self, name: str, rows: str, *, is_last: bool) -> str:
        graph, width = self.graph, self._width
        attended = self._attention(f"{name}.attention.self", rows, is_last=is_last)
        if is_last:
            rows = graph.node("Gather", rows, "first")
        output = (f"{name}.attention.output.dense", width)
        attended = graph.dense(attended, width, output, is_exact=is_last)
        rows = self._add(rows, attended, f"{name}.attention.output.LayerNorm")
        wide = (f"{name}.intermediate.dense", self._inner)
        inner = graph.dense(rows, width, wide, is_exact=is_last)
        inner = graph.node("Gelu", inner)
        output = (f"{name}.output.dense", width)
        inner = graph.dense(inner, self._inner, output, is_exact=is_last)
        return self._add(rows, inner, f"{name}.output.LayerNorm")

    def _attention(self, name: str, rows: str, *, is_last: bool) -> str:
        graph, width = self.graph, self._width
        query, *others = [(f"{name}.{part}", width) for part in ("query", "key", "value")]
        if is_last:
            first = graph.node("Gather", rows, "first")
            sought = graph.dense(first, width, query, is_exact=True)
            one = graph.constant("places axis", np.array([1], np.int64))
            queries = graph.node("Unsqueeze", sought, one)
            both = graph.dense(rows, width, *others, is_exact=True)
            keys, values = self._padded(both, 2)
        else:
            queries, keys, values = self._padded(graph.dense(rows, width, query, *others), 3)
        attended = graph.node(
            "MultiHeadAttention", queries, keys, values, "", "lengths",
            contrib=True, num_heads=self._heads,
        )  # fmt: skip
        flat = graph.constant("flat", np.array([-1, width], np.int64))
        attended = graph.node("Reshape", attended, flat)
        return attended if is_last else graph.node("Gather", attended, "unpadded")

    def _padded(self, rows: str, parts: int) -> list[str]:
        """Return rows (n, parts * width) as so many tensors (texts, places, width)."""
        widths = self.graph.constant(f"{parts} widths", np.array([self._width] * parts, np.int64))
        padded = self.graph.node("Gather", rows, "places")
        return self.graph.nodes("Split", padded, widths, outputs=parts, axis=-1)

    def _add(self, rows: str, change: str, norm: str) -> str:
        total = self.graph.node("Add", rows, change)
        return self.graph.norm(total, norm, self._width, self._epsilon)
