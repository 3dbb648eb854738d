"""Convolutions of an ONNX network, and what writes some of them in int8 with fixed scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from product_search.training.starter.activations import Activation, Grid
from product_search.training.starter.text_space import Floats

# Processors without VNNI add the products of unsigned and signed bytes in pairs of 16 bits, so one
# of both has 7 bits: 127 x 127 x 2 fits, and so does 255 x 63 x 2. What a ReLU6 leaves has 7 bits,
# the weights where values may be negative. Depthwise layers add in 32 bits.
_LEVELS, _FEW_LEVELS = 255, 127
_WEIGHT_LEVELS, _FEW_WEIGHT_LEVELS = 127, 63
_LARGEST_BIAS = 2**30  # in products, so that it fits into 32 bits: dead channels have tiny weights


@dataclass(frozen=True)
class Layer:
    """A convolution, and the ReLU6 that may follow it."""

    node: Any
    relu: Any | None
    weights: Floats
    bias: Floats

    @property
    def input(self) -> str:
        """The name of the value that goes in."""
        return str(self.node.input[0])

    @property
    def output(self) -> str:
        """The name of the value that comes out."""
        return str((self.relu or self.node).output[0])

    @property
    def is_depthwise(self) -> bool:
        """Whether it filters each channel by itself."""
        return int(self.weights.shape[1]) == 1


def convolutions(model: Any) -> Iterator[Layer]:
    """Yield the convolutions of a network whose weights are float32, in its order."""
    weights = {one.name: one for one in model.graph.initializer}
    relus = {node.input[0]: node for node in model.graph.node if node.op_type == "Clip"}
    for node in model.graph.node:
        if node.op_type == "Conv":
            values = (numpy_helper.to_array(weights[name]) for name in node.input[1:3])
            kernel, bias = (value.astype(np.float64) for value in values)
            yield Layer(node, relus.get(node.output[0]), kernel, bias)


class Quantiser:
    """Writes layers of a network in int8; values between them are bytes, others stay float32."""

    def __init__(self, model: Any, seen: Mapping[str, Activation]) -> None:
        """Prepare for a network and the values that its layers have taken and given."""
        self._model = model
        self._seen = seen
        self._grids: dict[str, Grid] = {}
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._bytes: dict[str, str] = {}  # the bytes that stand for a value, by its name
        self._floats: set[str] = set()

    @property
    def scales(self) -> set[str]:
        """The names of float tensors that are scales, and no weights."""
        return {name for name in self._constants if name.endswith(" scale")}

    def convert(self, layers: Sequence[Layer]) -> Any:
        """Return the network with these layers in int8."""
        pointwise = {layer.input for layer in layers if not layer.is_depthwise}
        for name, value in self._seen.items():
            is_few = name in pointwise and not value.is_negative
            self._grids[name] = value.grid(_FEW_LEVELS if is_few else _LEVELS)
        by_output = {layer.node.output[0]: layer for layer in layers}
        relus = {layer.output for layer in layers if layer.relu}
        for node in self._model.graph.node:
            if node.output[0] in by_output:
                self._add_layer(by_output[node.output[0]])
            elif node.output[0] not in relus:
                self._add_float(node)
        return self._assembled()

    def _assembled(self) -> Any:
        graph = self._model.graph
        used = {name for node in self._nodes for name in node.input}
        kept = [one for one in graph.initializer if one.name in used]
        tensors = [*kept, *self._constants.values()]
        made = helper.make_graph(self._nodes, "network", graph.input, graph.output, tensors)
        opsets = [one for one in self._model.opset_import if not one.domain]
        return helper.make_model(made, opset_imports=opsets, ir_version=self._model.ir_version)

    def _add_float(self, node: Any) -> None:
        for name in node.input:
            if name in self._bytes and name not in self._floats:
                self._node("DequantizeLinear", [self._bytes[name], *self._grid(name)], name)
        self._nodes.append(node)
        self._floats.update(node.output)

    def _add_layer(self, layer: Layer) -> None:
        levels, scales, bias = self._levels(layer)
        name, output = layer.node.name, layer.output
        is_few = self._grids[output].levels < _LEVELS
        stored = f"{output} bytes"
        self._node(
            "QLinearConv",
            [
                *self._quantised(layer.input),
                self._constant(f"{name} weights", levels.astype(np.int8)),
                self._constant(f"{name} weights scale", scales.astype(np.float32)),
                self._constant(f"{name} weights zero", np.zeros(len(scales), np.int8)),
                *self._grid(output),
                self._constant(f"{name} bias", bias.astype(np.int32)),
            ],
            f"{stored} unbounded" if is_few else stored,
            **{one.name: helper.get_attribute_value(one) for one in layer.node.attribute},
        )
        if is_few:  # bytes end at 0, as a ReLU does, but at 255; so few levels need a bound
            ends = [self._constant(str(end), np.array(end, np.uint8)) for end in (0, _FEW_LEVELS)]
            self._node("Clip", [f"{stored} unbounded", *ends], stored)
        self._bytes[output] = stored

    def _levels(self, layer: Layer) -> tuple[Floats, Floats, Floats]:
        """Return the weights' levels, each output channel's scale, and the bias in products.

        The bias makes good for the mean error of the rounded weights.
        """
        grid, means = self._grids[layer.input], self._seen[layer.input].means
        is_exact = layer.is_depthwise or grid.levels == _FEW_LEVELS
        most = _WEIGHT_LEVELS if is_exact else _FEW_WEIGHT_LEVELS
        scales = np.abs(layer.weights).max(axis=(1, 2, 3)) / most
        scales = np.maximum(scales, np.abs(layer.bias) / grid.scale / _LARGEST_BIAS + 1e-12)
        columns = scales[:, None, None, None]
        levels = np.round(layer.weights / columns)
        errors = (layer.weights - levels * columns).sum(axis=(2, 3))
        shift = errors[:, 0] * means if layer.is_depthwise else errors @ means
        return levels, scales, np.round((layer.bias + shift) / (scales * grid.scale))

    def _quantised(self, name: str) -> list[str]:
        """Return the names of a value's bytes, their scale and their zero."""
        if name not in self._bytes:
            self._bytes[name] = f"{name} bytes"
            self._node("QuantizeLinear", [name, *self._grid(name)], self._bytes[name])
        return [self._bytes[name], *self._grid(name)]

    def _grid(self, name: str) -> list[str]:
        grid = self._grids[name]
        return [
            self._constant(f"{name} scale", np.array(grid.scale, np.float32)),
            self._constant(f"{name} zero", np.array(grid.zero, np.uint8)),
        ]

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        if kind == "DequantizeLinear":
            self._floats.add(output)

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(value, name)
        return name
