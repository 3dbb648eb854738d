"""Text-to-image pipelines of diffusers as image generators; the first one imports the library."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from product_search.errors import GenerationModelMissing
from product_search.generation.generator import ImageGenerator, Step

if TYPE_CHECKING:
    from product_search.generation.pipeline import Pipeline

log = logging.getLogger(__name__)

Offload = Literal["none", "model", "sequential"]


@dataclass(frozen=True)
class _Recipe:
    """How the publisher of a kind of pipeline runs it."""

    steps: int
    guidance: float
    guidance_argument: str = "guidance_scale"


# By the class that model_index.json names; the figures are of the publishers' model cards.
_RECIPES = {
    "ZImagePipeline": _Recipe(8, 0.0),  # Z-Image-Turbo: distilled, without guidance
    "Flux2KleinPipeline": _Recipe(4, 1.0),  # distilled as well
    "QwenImagePipeline": _Recipe(50, 4.0, "true_cfg_scale"),
}
_OTHERS = _Recipe(50, 7.5)  # Stable Diffusion


def open_generator(
    folder: Path, device: str, *, offload: Offload = "none", vae_tiling: bool = False
) -> ImageGenerator:
    """Return a generator over the pipeline in `folder`, which may come later: nothing is read yet.

    `offload` keeps on a CUDA device only the model, or only the layer (sequential), that is at
    work; `vae_tiling` decodes large images in parts.
    """
    return DiffusersGenerator(folder, device, offload, vae_tiling)


def has_pipeline(folder: Path) -> bool:
    """Return whether the folder holds a diffusers pipeline with all its parts."""
    index = _index(folder)
    parts = [name for name, kind in index.items() if isinstance(kind, list) and kind[0]]
    return bool(parts) and all(_is_whole(folder / name) for name in parts)


class DiffusersGenerator:
    """ImageGenerator on any text-to-image pipeline of diffusers that is saved in a folder."""

    def __init__(self, folder: Path, device: str, offload: Offload, vae_tiling: bool) -> None:
        """Take the arguments of `open_generator`."""
        self._folder = folder
        self._device = device
        self._offload = offload if device == "cuda" else "none"
        self._vae_tiling = vae_tiling
        self._lock = threading.Lock()
        self._loaded: Pipeline | None = None

    @property
    def name(self) -> str:
        """The model's name on ModelScope."""
        return self._folder.name.replace("--", "/")

    @property
    def default_steps(self) -> int:
        """See ImageGenerator."""
        return self._recipe().steps

    @property
    def default_guidance(self) -> float:
        """See ImageGenerator."""
        return self._recipe().guidance

    def check(self) -> None:
        """See ImageGenerator."""
        self._recipe()

    def generate(
        self,
        prompt: str,
        *,
        negative_prompt: str | None,
        width: int,
        height: int,
        steps: int,
        guidance: float,
        seed: int,
        on_step: Callable[[Step], None],
    ) -> Image.Image:
        """See ImageGenerator."""
        with self._lock:
            recipe = self._recipe()
            return self._load().generate(
                on_step,
                width=width,
                height=height,
                steps=steps,
                seed=seed,
                arguments={
                    "prompt": prompt,
                    # A space: Qwen-Image guides only where there is one.
                    "negative_prompt": negative_prompt or " ",
                    recipe.guidance_argument: guidance,
                },
            )

    def unload(self) -> None:
        """See ImageGenerator."""
        with self._lock:
            if self._loaded is None:
                return
            loaded, self._loaded = self._loaded, None
            loaded.free()
            log.info("generation model %s unloaded", self.name)

    def _recipe(self) -> _Recipe:
        kind = _index(self._folder).get("_class_name")
        if kind is None:
            raise GenerationModelMissing(
                f"没有图片生成模型（{self.name}）："
                "请先运行 python -m product_search.manage download-models --generation"
            )
        return _RECIPES.get(kind, _OTHERS)

    def _load(self) -> Pipeline:
        if self._loaded is None:
            from product_search.generation import pipeline  # its libraries take seconds to import

            log.info("loading generation model %s on %s", self.name, self._device)
            self._loaded = pipeline.open_pipeline(
                self._folder, self._device, self._offload, self._vae_tiling, self.name
            )
        return self._loaded


def _index(folder: Path) -> dict[str, Any]:
    """Return the contents of model_index.json; empty where it is missing or damaged."""
    try:
        index = json.loads((folder / "model_index.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}


def _is_whole(part: Path) -> bool:
    """Return whether a part is there with its weights; a part with weights has a config.json."""
    lists = [json.loads(path.read_text("utf-8")) for path in part.glob("*.index.json")]
    named = {name for one in lists for name in one["weight_map"].values()}
    weights = {path.name for path in part.glob("*.safetensors")}
    has_some = bool(weights) or not (part / "config.json").is_file()
    return part.is_dir() and has_some and named <= weights
