"""What passes between a network's layers when it sees pictures: ranges, and means by channel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from product_search.encoders.embeddings import Matrix
from product_search.training.starter.text_space import Floats

_BATCH = 8
_STRIDE = 401  # one value in so many is kept; a prime, so that no row or channel is favoured
_NARROWINGS = np.linspace(0.3, 1, 36)


@dataclass(frozen=True)
class Grid:
    """Evenly spaced values that unsigned bytes from 0 to `levels` stand for."""

    scale: float
    zero: int
    levels: int


@dataclass(frozen=True)
class Activation:
    """Values between two layers, as float32: a sample of them, and the mean of each channel."""

    sample: Matrix  # with the least and the largest of all
    means: Floats

    @property
    def is_negative(self) -> bool:
        """Whether there are negative ones, which a ReLU6 leaves none of."""
        return bool(self.sample.min() < 0)

    def grid(self, levels: int) -> Grid:
        """Return the grid of least squared error; the rare values outside of it go to its ends."""
        low, high = min(self.sample.min(), 0), max(self.sample.max(), 1e-6)
        grids = [
            Grid(scale, round(-low / (high - low) * levels), levels)
            for scale in _NARROWINGS * float(high - low) / levels
        ]
        return min(grids, key=self._error)

    def _error(self, grid: Grid) -> float:
        steps = np.round(self.sample / grid.scale).clip(-grid.zero, grid.levels - grid.zero)
        return float(np.square(steps * grid.scale - self.sample).mean())


def simplified(network: Path, work: Path) -> Any:
    """Return the network with its constants computed and its weights widened.

    Args:
        network: an ONNX file.
        work: a folder for what ONNX Runtime writes.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(work / "simplified.onnx")
    onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    return onnx.load(work / "simplified.onnx")


def observe(model: Any, names: Iterable[str], pixels: Matrix) -> dict[str, Activation]:
    """Run pixels (n, 3, 224, 224) through the network, and return what these values were."""
    names = list(names)
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    outputs = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names]
    open_model.graph.output.extend(outputs)
    session = onnxruntime.InferenceSession(
        open_model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    means: dict[str, list[Floats]] = {name: [] for name in names}
    for start in range(0, len(pixels), _BATCH):
        batch = session.run(names, {"pixels": pixels[start : start + _BATCH]})
        for name, values in zip(names, batch, strict=True):
            samples[name] += [values.ravel()[::_STRIDE], np.array([values.min(), values.max()])]
            means[name].append(values.mean(axis=(2, 3), dtype=np.float64))
    return {
        name: Activation(np.concatenate(samples[name]), np.concatenate(means[name]).mean(axis=0))
        for name in names
    }
