"""ONNX graphs of transformers, built from a checkpoint's tensors and run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from product_search.encoders.precision import Precision
from product_search.encoders.tensors import Checkpoint

Array = NDArray[Any]

# Part of the fingerprint of whatever int8 embeds: changes with anything below that `dense` does.
INT8_RECIPE = "int8:rows-u8:columns-s7:smooth-0.8:last-f32"
# Weights use 7 of their 8 bits. Processors without VNNI add products in pairs of 16 bits, and
# 255 x 63 x 2 still fits there: a text has the same vector on all of them.
_WEIGHT_LEVELS = 63
# How much of the unevenness of a normalised row's channels goes over to the weights (SmoothQuant,
# Xiao et al. 2023), estimated from the norm's own weights. Halves the distance to float32.
_SMOOTHING = 0.8
_ROW_LEVELS = 127
_ROW_ZERO = 128
_OPSET = 20
_CONTRIB = "com.microsoft"
_FUSED = "SkipLayerNormFusion"  # seven times slower than the sum and the norm one by one


@dataclass(frozen=True)
class _Norm:
    """A layer normalisation: what goes into it, and its tensors."""

    rows: str
    weight: Array
    bias: Array
    epsilon: float


class Graph:
    """A graph that grows node by node; a value is known by its name."""

    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None:
        """Begin a graph of the checkpoint's tensors, its dense layers in this precision."""
        self._checkpoint = checkpoint
        self._precision = precision
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._rows: dict[str, tuple[str, str]] = {}
        self._norms: dict[str, _Norm] = {}

    def constant(self, name: str, value: Array) -> str:
        """Add a tensor once, and return its name."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def tensor(self, name: str, *shape: int) -> str:
        """Add a tensor of the checkpoint as float32. Raises EncoderError."""
        return self.constant(name, self._checkpoint.tensor(name, *shape))

    def node(self, kind: str, *inputs: str, contrib: bool = False, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        (output,) = self.nodes(kind, *inputs, outputs=1, contrib=contrib, **attributes)
        return output

    def nodes(
        self, kind: str, *inputs: str, outputs: int, contrib: bool = False, **attributes: Any
    ) -> list[str]:
        """Add a node, and return its outputs' names."""
        names = [f"{kind}_{len(self._nodes)}_{number}" for number in range(outputs)]
        domain = _CONTRIB if contrib else ""
        self._nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names

    def embedding(self, name: str, indices: str, rows: int, width: int) -> str:
        """Return the rows of a checkpoint's table; it stays in the precision that it is stored in.

        Raises:
            EncoderError: the table is not there, or of another shape.
        """
        table = self.constant(name, self._checkpoint.stored(name, rows, width))
        return self.node("Cast", self.node("Gather", table, indices), to=TensorProto.FLOAT)

    def dense(
        self,
        rows: str,
        width: int,
        *layers: tuple[str, int],
        bias: bool = True,
        is_exact: bool = False,
    ) -> str:
        """Return rows (n, width) times the weights of these layers, side by side, plus biases.

        Each layer is its name in the checkpoint and its width. In int8 each row of `rows` and each
        column of the weights has a scale of its own, so that a row's result does not depend on
        the other rows. An exact layer is in float32 all the same.

        Raises:
            EncoderError: a tensor is not there, or of another shape.
        """
        tensor = self._checkpoint.tensor
        weights = np.concatenate([tensor(f"{name}.weight", out, width) for name, out in layers])
        name = "+".join(name for name, _ in layers)
        if self._precision == "int8" and not is_exact:
            product = self._int8_product(rows, name, weights)
        else:
            product = self.node("MatMul", rows, self.constant(f"{name}.weight", weights.T))
        if not bias:
            return product
        biases = np.concatenate([tensor(f"{name}.bias", out) for name, out in layers])
        return self.node("Add", product, self.constant(f"{name}.bias", biases))

    def _int8_product(self, rows: str, name: str, weights: Array) -> str:
        if rows in self._norms:
            rows, weights = self._smoothed(self._norms[rows], name, weights)
        scales = np.maximum(np.abs(weights).max(axis=1), 1e-12) / _WEIGHT_LEVELS
        levels = np.round(weights / scales[:, None]).astype(np.int8)
        quantised, largest = self._quantised_rows(rows)
        product = self.node(
            "MatMulIntegerToFloat",
            quantised,
            self.constant(f"{name}.levels", levels.T),
            self._row_scale(),
            self.constant(f"{name}.scales", scales.astype(np.float32)),
            self._row_zero(),
            contrib=True,
        )
        return self.node("Mul", product, largest)

    def _smoothed(self, norm: _Norm, name: str, weights: Array) -> tuple[str, Array]:
        """Return the rows with their channels scaled, and the weights scaled the other way."""
        channels = np.abs(norm.weight) + np.abs(norm.bias)
        columns = np.maximum(np.abs(weights).max(axis=0), 1e-6)
        scales = np.maximum(channels, 1e-6) ** _SMOOTHING / columns ** (1 - _SMOOTHING)
        scales = np.maximum(scales / np.exp(np.log(scales).mean()), 1e-3)
        weight = self.constant(f"{name}.norm.weight", (norm.weight / scales).astype(np.float32))
        bias = self.constant(f"{name}.norm.bias", (norm.bias / scales).astype(np.float32))
        rows = self.node(
            "LayerNormalization", norm.rows, weight, bias, axis=-1, epsilon=norm.epsilon
        )
        return rows, weights * scales

    def _quantised_rows(self, rows: str) -> tuple[str, str]:
        """Return the rows as uint8, each by its largest absolute value, and these values."""
        if rows not in self._rows:
            last = self.constant("last axis", np.array([-1], np.int64))
            largest = self.node("ReduceMax", self.node("Abs", rows), last, keepdims=1)
            largest = self.node("Max", largest, self.constant("tiny", np.array(1e-12, np.float32)))
            unit = self.node("Div", rows, largest)
            quantised = self.node("QuantizeLinear", unit, self._row_scale(), self._row_zero())
            self._rows[rows] = quantised, largest
        return self._rows[rows]

    def _row_scale(self) -> str:
        return self.constant("row scale", np.array(1 / _ROW_LEVELS, np.float32))

    def _row_zero(self) -> str:
        return self.constant("row zero", np.array(_ROW_ZERO, np.uint8))

    def norm(self, rows: str, name: str, width: int, epsilon: float) -> str:
        """Return the rows after the checkpoint's layer normalisation. Raises EncoderError."""
        parts = [f"{name}.weight", f"{name}.bias"]
        inputs = [self.tensor(part, width) for part in parts]
        output = self.node("LayerNormalization", rows, *inputs, axis=-1, epsilon=epsilon)
        weight, bias = (self._checkpoint.tensor(part, width) for part in parts)
        self._norms[output] = _Norm(rows, weight, bias, epsilon)
        return output

    def open(
        self, inputs: Sequence[tuple[str, int, Sequence[str | int]]], output: str, width: int
    ) -> onnxruntime.InferenceSession:
        """Return a session that computes `output` (n, width) from inputs of name, type and shape.

        A batch runs on all cores, and threads that have nothing to do leave them to others.
        """
        self._nodes.append(helper.make_node("Identity", [output], ["output"]))
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info(*one) for one in inputs],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", width])],
            list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=[_FUSED],
        )
