"""Below every floor: the published text-to-image models to choose among (decision 0017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GenerationChoice = Literal["default", "light", "strong"]


@dataclass(frozen=True)
class PublishedModel:
    """A diffusers pipeline on ModelScope."""

    model: str
    gigabytes: float  # of its download, about
    files: tuple[str, ...]  # what of its snapshot is fetched


_FILES = ("model_index.json", "*/*.json", "*/*.txt", "*/*.jinja")
_SAFE = (*_FILES, "*/*.safetensors")

GENERATION_MODELS: dict[GenerationChoice, PublishedModel] = {
    "default": PublishedModel("Tongyi-MAI/Z-Image-Turbo", 33, _SAFE),
    # Its weights are pickles, which are read as tensors alone.
    "light": PublishedModel(
        "Fengshenbang/Taiyi-Stable-Diffusion-1B-Chinese-v0.1", 5.4, (*_FILES, "*/*.bin")
    ),
    "strong": PublishedModel("Qwen/Qwen-Image-2512", 58, _SAFE),
}
