"""Hugging Face models, read from a local folder and run without gradients."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers.utils.logging import disable_progress_bar

from product_search.encoders.embeddings import Matrix
from product_search.errors import EncoderError


def load_model(kind: Any, folder: Path, device: str, **options: Any) -> Any:
    """Load a transformers model in evaluation mode: fp16 on CUDA, float32 on the CPU.

    Raises:
        EncoderError: the weights can't be read, or tensors are missing.
    """
    disable_progress_bar()  # of a second's work, amid the log
    dtype = torch.float16 if device == "cuda" else torch.float32
    # weights_only: a .bin checkpoint is read as tensors, never as pickled objects.
    try:
        model, loading = kind.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            weights_only=True,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise EncoderError(f"{folder} 里的模型权重无法读取：{error}") from error
    if loading["missing_keys"]:
        # transformers fills them with random numbers, and says so in a log line.
        raise EncoderError(f"{folder} 里的模型权重不完整：缺少 {sorted(loading['missing_keys'])}")
    return model.to(device).eval()


def to_device(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """Copy a tensor of the CPU to the device; to a GPU from pinned memory, not waited for."""
    if device == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to_matrix(vectors: torch.Tensor) -> Matrix:
    """Copy a tensor of any device and precision into a float32 array."""
    return np.asarray(vectors.float().cpu().numpy(), np.float32)
