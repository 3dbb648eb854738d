"""EfficientNet-Lite0 with its batch norms folded in, cut in two, and the starter built on it.

Trunk and one tail keep their published ImageNet weights; a second tail, which starts as a copy, is
what training changes. Pixels are float32 (n, 3, 224, 224): RGB, (x - 127) / 128.
"""

from __future__ import annotations

import importlib
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from product_search.training.starter.text_space import Floats

CUT = 11  # the tail's first block; 14 x 14 maps of 112 channels go in
MAP_SHAPE = (112, 14, 14)
FEATURES = 1280
PIXELS = (3, 224, 224)
OPSET = 17
SMALL = 1024  # values of a weight that is not worth halving


class Block(nn.Module):
    """An inverted residual: expand, filter each channel, project (Sandler et al. 2018)."""

    def __init__(self, source: Any) -> None:
        """Fold the batch norms of a published block."""
        super().__init__()
        recipe = source._block_args
        strides = recipe.stride if isinstance(recipe.stride, list) else [recipe.stride]
        self.residual = strides == [1] and recipe.input_filters == recipe.output_filters
        steps = [fuse_conv_bn_eval(source._depthwise_conv, source._bn1)]
        if recipe.expand_ratio != 1:
            steps.insert(0, fuse_conv_bn_eval(source._expand_conv, source._bn0))
        self.steps = nn.ModuleList(steps)
        self.project = fuse_conv_bn_eval(source._project_conv, source._bn2)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map (n, c, h, w) to maps of the next block."""
        inner = maps
        for step in self.steps:
            inner = functional.relu6(step(inner))
        projected: torch.Tensor = self.project(inner)
        return maps + projected if self.residual else projected


class Trunk(nn.Module):
    """The first blocks, which are never trained: pixels -> maps (n, *MAP_SHAPE)."""

    def __init__(self, source: Any) -> None:
        """Fold the stem and the first CUT blocks of the published network."""
        super().__init__()
        self.stem = fuse_conv_bn_eval(source._conv_stem, source._bn0)
        self.blocks = nn.Sequential(*(Block(block) for block in source._blocks[:CUT]))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map pixels (n, 3, 224, 224) to maps (n, *MAP_SHAPE)."""
        maps: torch.Tensor = self.blocks(functional.relu6(self.stem(pixels)))
        return maps


class Tail(nn.Module):
    """The last blocks: maps of the trunk -> maps whose mean over the image are features."""

    def __init__(self, source: Any) -> None:
        """Fold the last blocks of the published network."""
        super().__init__()
        self.blocks = nn.Sequential(*(Block(block) for block in source._blocks[CUT:]))
        self.last = fuse_conv_bn_eval(source._conv_head, source._bn1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map (n, *MAP_SHAPE) to (n, FEATURES, 7, 7)."""
        seen: torch.Tensor = functional.relu6(self.last(self.blocks(maps)))
        return seen

    def features(self, maps: torch.Tensor) -> torch.Tensor:
        """Map (n, *MAP_SHAPE) to features (n, FEATURES)."""
        pooled: torch.Tensor = self(maps).mean((2, 3))
        return pooled


class ConSE(nn.Module):
    """The convex combination of ImageNet class-name embeddings (Norouzi et al. 2013).

    Classes that the training photos show have a small weight: the trainable branch knows them
    better.
    """

    def __init__(self, source: Any, class_embeddings: torch.Tensor) -> None:
        """Copy the published classifier; the class embeddings are (1000, d)."""
        super().__init__()
        self.classifier = nn.Linear(FEATURES, len(class_embeddings))
        self.classifier.load_state_dict(source._fc.state_dict())
        self.register_buffer("class_embeddings", class_embeddings)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Embed features (..., FEATURES) of the published tail: (..., d), not normalised."""
        likely = self.classifier(features).softmax(dim=-1)
        embedded: torch.Tensor = likely @ self.class_embeddings
        return embedded


class TrainableBranch(nn.Module):
    """What training changes: a tail of its own, and a linear head over standardised features."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, source: Any, mean: Floats, deviation: Floats, dimensions: int) -> None:
        """Start from the published tail.

        Args:
            source: the published network.
            mean: (FEATURES,) subtracted from the features.
            deviation: (FEATURES,) that they are divided by.
            dimensions: d of the embeddings.
        """
        super().__init__()
        self.tail = Tail(source)
        self.head = nn.Linear(FEATURES, dimensions)
        self.register_buffer("mean", torch.from_numpy(mean).float())
        self.register_buffer("deviation", torch.from_numpy(deviation).float())

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Embed maps (n, *MAP_SHAPE): (n, d), not normalised."""
        embedded: torch.Tensor = self.head((self.tail.features(maps) - self.mean) / self.deviation)
        return embedded


class StarterNetwork(nn.Module):
    """The starter: both branches on one trunk, from pixels to embedding and attention."""

    def __init__(self, trunk: Trunk, tail: Tail, conse: ConSE, branch: TrainableBranch) -> None:
        """Join the branches; both tails take the trunk's maps."""
        super().__init__()
        self.trunk, self.tail, self.conse, self.branch = trunk, tail, conse, branch

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return embeddings (n, d), not normalised, and attention (n, 7, 7): what is seen where."""
        maps = self.trunk(pixels)
        published = self.tail(maps)
        embedding = self.branch(maps) + self.conse(published.mean((2, 3)))
        return embedding, published.sum(dim=1)


def channels_last(module: Any) -> Any:
    """Lay the module's weights out as convolutions on a CPU like them, and return it."""
    return module.to(memory_format=torch.channels_last)


def read_efficientnet(weights: Path) -> Any:
    """Read the published network in evaluation mode (package efficientnet_lite_pytorch)."""
    package: Any = importlib.import_module("efficientnet_lite_pytorch")
    network = package.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


def export(module: nn.Module, target: Path, outputs: list[str]) -> None:
    """Write the module as ONNX from `pixels` to `outputs`, with a free batch size."""
    # The TorchScript exporter: the newer one writes this machine's source paths into the file.
    torch.onnx.export(
        module.eval(),
        (torch.zeros(2, *PIXELS),),
        target,
        input_names=["pixels"],
        output_names=outputs,
        dynamic_axes={name: {0: "n"} for name in ("pixels", *outputs)},
        opset_version=OPSET,
        dynamo=False,
    )


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Open an exported network on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def store_half_precision(path: Path, keep: Container[str] = ()) -> None:
    """Store the file's large weights in half precision; a Cast widens them when it is read.

    Args:
        path: the file.
        keep: names of tensors that stay as they are.
    """
    model = onnx.load(path)
    for tensor in list(model.graph.initializer):
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALL or tensor.name in keep:
            continue
        name = tensor.name
        halved = onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half")
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(halved)
        widen = onnx.helper.make_node("Cast", [halved.name], [name], to=onnx.TensorProto.FLOAT)
        model.graph.node.insert(0, widen)
    onnx.checker.check_model(model)
    onnx.save(model, path)
