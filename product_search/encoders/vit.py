"""CLIP's image tower on a CPU: a vision transformer as an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from product_search.encoders.embeddings import Matrix
from product_search.encoders.graph import Graph
from product_search.encoders.precision import Precision
from product_search.encoders.tensors import Checkpoint
from product_search.errors import EncoderError

_ACTIVATIONS = ("quick_gelu", "gelu")
_QUICK_GELU = 1.702  # x * sigmoid(1.702 x)


class Vit:
    """A vision transformer whose class token stands for the image."""

    def __init__(
        self, checkpoint: Checkpoint, precision: Precision, projection: tuple[str, int]
    ) -> None:
        """Build the network.

        Args:
            checkpoint: a tower of CLIPVisionModel's kind.
            precision: what its dense layers are computed in.
            projection: name and width of the layer after the tower, without a bias.

        Raises:
            EncoderError: the checkpoint can't be used.
        """
        builder = _Builder(checkpoint, precision)
        self.side = builder.side
        self.dim = projection[1]
        shape = ("n", builder.channels, self.side, self.side)
        self._session = builder.graph.open(
            [("pixels", TensorProto.FLOAT, shape)], builder.build(projection), self.dim
        )

    def embed(self, pixels: Sequence[Matrix]) -> Matrix:
        """Return float32 (n, dim) of images (channels, side, side) each; n is at least 1."""
        (states,) = self._session.run(["output"], {"pixels": np.stack(pixels)})
        return np.asarray(states, np.float32)


class _Builder:
    """The layers of a vision transformer, added to a graph; rows are (images, places, width)."""

    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None:
        config = checkpoint.config
        self.graph = Graph(checkpoint, precision)
        self.channels = int(config["num_channels"])
        self.side = int(config["image_size"])
        self._checkpoint = checkpoint
        self._activation = str(config["hidden_act"])
        if self._activation not in _ACTIVATIONS:
            raise EncoderError(f"{checkpoint.folder}：不支持激活函数 {self._activation}")
        self._patch = int(config["patch_size"])
        self._width = int(config["hidden_size"])
        self._inner = int(config["intermediate_size"])
        self._heads = int(config["num_attention_heads"])
        self._layers = int(config["num_hidden_layers"])
        self._epsilon = float(config["layer_norm_eps"])

    def build(self, projection: tuple[str, int]) -> str:
        """Add all layers; return the projected states of the class tokens."""
        graph = self.graph
        rows = self._norm(self._embeddings(), "pre_layrnorm")
        for number in range(self._layers):
            # After the last layer nobody looks at the other places.
            is_last = number == self._layers - 1
            rows = self._layer(f"encoder.layers.{number}", rows, is_last=is_last)
        flat = graph.constant("flat", np.array([-1, self._width], np.int64))
        states = self._norm(graph.node("Reshape", rows, flat), "post_layernorm")
        return graph.dense(states, self._width, projection, bias=False, is_exact=True)

    def _embeddings(self) -> str:
        graph, width = self.graph, self._width
        grid = self.side // self._patch
        table = self._checkpoint.tensor(
            "embeddings.position_embedding.weight", grid * grid + 1, width
        )
        places = graph.constant("patch positions", table[1:])
        patches = graph.node("Add", self._patches(grid), places)
        kind = self._checkpoint.tensor("embeddings.class_embedding", width)
        token = graph.constant("class token", (kind + table[0])[None, None])
        count = graph.node("Shape", "pixels", start=0, end=1)
        rest = graph.constant("class token shape", np.array([1, width], np.int64))
        shape = graph.node("Concat", count, rest, axis=0)
        return graph.node("Concat", graph.node("Expand", token, shape), patches, axis=1)

    def _patches(self, grid: int) -> str:
        """Return the embeddings (images, grid * grid, width) of the patches, row by row."""
        graph, channels, side = self.graph, self.channels, self._patch
        cut = graph.constant("cut", np.array([-1, channels, grid, side, grid, side], np.int64))
        rows = graph.node(
            "Transpose", graph.node("Reshape", "pixels", cut), perm=[0, 2, 4, 1, 3, 5]
        )
        size = channels * side * side
        flat = graph.constant("patches", np.array([-1, grid * grid, size], np.int64))
        weights = self._checkpoint.tensor(
            "embeddings.patch_embedding.weight", self._width, channels, side, side
        )
        kernel = graph.constant("patch kernel", weights.reshape(self._width, size).T)
        return graph.node("MatMul", graph.node("Reshape", rows, flat), kernel)

    def _layer(self, name: str, rows: str, *, is_last: bool) -> str:
        graph, width = self.graph, self._width
        attended = self._attention(f"{name}.self_attn", self._norm(rows, f"{name}.layer_norm1"),
                                   is_last=is_last)  # fmt: skip
        if is_last:
            rows = self._class_tokens(rows)
        output = (f"{name}.self_attn.out_proj", width)
        rows = graph.node("Add", rows, graph.dense(attended, width, output, is_exact=is_last))
        inner = self._norm(rows, f"{name}.layer_norm2")
        wide = (f"{name}.mlp.fc1", self._inner)
        inner = self._activated(graph.dense(inner, width, wide, is_exact=is_last))
        output = (f"{name}.mlp.fc2", width)
        return graph.node("Add", rows, graph.dense(inner, self._inner, output, is_exact=is_last))

    def _attention(self, name: str, rows: str, *, is_last: bool) -> str:
        graph, width = self.graph, self._width
        query, *others = [(f"{name}.{part}_proj", width) for part in ("q", "k", "v")]
        if is_last:
            queries = graph.dense(self._class_tokens(rows), width, query, is_exact=True)
            keys, values = self._split(graph.dense(rows, width, *others), 2)
        else:
            queries, keys, values = self._split(graph.dense(rows, width, query, *others), 3)
        return graph.node(
            "MultiHeadAttention", queries, keys, values, contrib=True, num_heads=self._heads
        )

    def _class_tokens(self, rows: str) -> str:
        zero = self.graph.constant("class place", np.array([0], np.int64))
        return self.graph.node("Gather", rows, zero, axis=1)

    def _split(self, rows: str, parts: int) -> list[str]:
        widths = self.graph.constant(f"{parts} widths", np.array([self._width] * parts, np.int64))
        return self.graph.nodes("Split", rows, widths, outputs=parts, axis=-1)

    def _activated(self, rows: str) -> str:
        if self._activation == "quick_gelu":
            return self.graph.node("QuickGelu", rows, contrib=True, alpha=_QUICK_GELU)
        return self.graph.node("Gelu", rows)

    def _norm(self, rows: str, name: str) -> str:
        return self.graph.norm(rows, name, self._width, self._epsilon)
