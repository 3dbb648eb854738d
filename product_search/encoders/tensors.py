"""Tensors of a checkpoint, read without the library that made it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from product_search.encoders.checkpoints import require_weights, weight_files
from product_search.encoders.embeddings import Matrix
from product_search.errors import EncoderError


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory: its configuration, and its tensors as they are stored."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, NDArray[Any]]

    @classmethod
    def read(cls, folder: Path, prefix: str = "") -> Checkpoint:
        """Read the folder's checkpoint; a prefix of its tensors' names is dropped.

        Raises:
            EncoderError: a file is missing or damaged.
        """
        require_weights(folder)
        try:
            config = json.loads((folder / "config.json").read_text("utf-8"))
            tensors = {k: v for path in weight_files(folder) for k, v in _read_file(path).items()}
        except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
            raise EncoderError(f"{folder} 里的模型权重无法读取：{error}") from error
        return cls(folder, config, {name.removeprefix(prefix): v for name, v in tensors.items()})

    def tower(self, prefix: str, config: Mapping[str, Any]) -> Checkpoint:
        """Return a part of the network: its own configuration, its tensors' names without prefix.

        Tensors outside of it keep their names.
        """
        tensors = {name.removeprefix(prefix): value for name, value in self.tensors.items()}
        return Checkpoint(self.folder, config, tensors)

    def stored(self, name: str, *shape: int) -> NDArray[Any]:
        """Return a tensor in its own precision. Raises EncoderError if there is no such tensor."""
        found = self.tensors.get(name)
        if found is None:
            raise EncoderError(f"{self.folder} 里的模型权重不完整：缺少 {name}")
        if found.shape != shape:
            raise EncoderError(
                f"{self.folder} 里的模型权重与 config.json 不符："
                f"{name} 是 {found.shape}，应为 {shape}"
            )
        return found

    def tensor(self, name: str, *shape: int) -> Matrix:
        """Return a tensor as float32. Raises EncoderError if there is no such tensor."""
        return self.stored(name, *shape).astype(np.float32)


def _read_file(path: Path) -> dict[str, NDArray[Any]]:
    if path.suffix == ".safetensors":
        return load_file(path)
    import torch  # takes seconds, and only its own kind of file needs it

    # weights_only: a checkpoint is read as tensors, never as pickled objects.
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.numpy() for name, tensor in tensors.items()}
