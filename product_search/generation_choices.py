"""Below every floor: the published text-to-image models to choose among (decision 0017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GenerationChoice = Literal["default", "light", "strong"]


@dataclass(frozen=True)
class PublishedModel:
    """A diffusers pipeline on ModelScope."""

    model: str
    gigabytes: int  # of its download, about


GENERATION_MODELS: dict[GenerationChoice, PublishedModel] = {
    "default": PublishedModel("Tongyi-MAI/Z-Image-Turbo", 33),
    "light": PublishedModel("black-forest-labs/FLUX.2-klein-4B", 16),
    "strong": PublishedModel("Qwen/Qwen-Image-2512", 58),
}
# What of a snapshot is fetched: no pictures, no pickles, no copy of the weights for other programs.
PIPELINE_FILES = ("model_index.json", "*/*.json", "*/*.txt", "*/*.jinja", "*/*.safetensors")
