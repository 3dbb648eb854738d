"""Text-to-image pipelines of diffusers as image generators."""

from __future__ import annotations

import gc
import inspect
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from transformers.utils import logging as transformers_logging

from product_search.errors import GenerationFailed, GenerationModelMissing
from product_search.generation.generator import ImageGenerator, Step
from product_search.generation.previews import PreviewDecoder, fit_preview_decoder

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
        self._loaded: tuple[Any, PreviewDecoder] | None = None

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
            pipeline, decoder = self._load()
            decode = partial(decoder.decode, width=width, height=height)
            reporter = _StepReporter(on_step, steps, decode)
            arguments = {
                "prompt": prompt,
                # A space: Qwen-Image guides only where there is one.
                "negative_prompt": negative_prompt or " ",
                "width": _round_up(width, pipeline),
                "height": _round_up(height, pipeline),
                "num_inference_steps": steps,
                recipe.guidance_argument: guidance,
                # Noise is drawn on the CPU, so that it is the same for every device.
                "generator": torch.Generator("cpu").manual_seed(seed),
                "callback_on_step_end": reporter,
            }
            image = _run(pipeline, arguments, reporter)
        return _crop_centre(image, width, height)

    def unload(self) -> None:
        """See ImageGenerator."""
        with self._lock:
            if self._loaded is None:
                return
            self._loaded = None
            gc.collect()  # a pipeline and its hooks refer to each other
            _empty_cache()
            log.info("generation model %s unloaded", self.name)

    def _recipe(self) -> _Recipe:
        kind = _index(self._folder).get("_class_name")
        if kind is None:
            raise GenerationModelMissing(
                f"没有图片生成模型（{self.name}）："
                "请先运行 python -m product_search.manage download-models --generation"
            )
        return _RECIPES.get(kind, _OTHERS)

    def _load(self) -> tuple[Any, PreviewDecoder]:
        if self._loaded is None:
            log.info("loading generation model %s on %s", self.name, self._device)
            try:
                self._loaded = self._open()
            except Exception as error:  # whatever the libraries raise at files that are damaged
                log.exception("generation model %s can't be loaded", self.name)
                reason = _reason(error)
                raise GenerationFailed(f"图片生成模型 {self.name} 无法加载：{reason}") from error
        return self._loaded

    def _open(self) -> tuple[Any, PreviewDecoder]:
        from diffusers import DiffusionPipeline  # takes seconds to import; only this needs it
        from diffusers.utils import logging as diffusers_logging

        for bars in (diffusers_logging, transformers_logging):  # of seconds' work, amid the log
            bars.disable_progress_bar()
        pipeline: Any = DiffusionPipeline.from_pretrained(
            self._folder, dtype=_dtype(self._device), local_files_only=True
        )
        pipeline.set_progress_bar_config(disable=True)
        if self._vae_tiling and hasattr(pipeline.vae, "enable_tiling"):
            pipeline.vae.enable_tiling()
        decoder = fit_preview_decoder(pipeline.vae.to(self._device))
        pipeline.vae.to("cpu")  # offloading begins with everything there
        if self._offload == "model":
            pipeline.enable_model_cpu_offload(device=self._device)
        elif self._offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=self._device)
        else:
            pipeline.to(self._device)
        return pipeline, decoder


class _StepReporter:
    """The callback of diffusers after each denoising step, passed on as Steps."""

    def __init__(
        self,
        on_step: Callable[[Step], None],
        steps: int,
        decode: Callable[[torch.Tensor], Image.Image],
    ) -> None:
        self._on_step = on_step
        self._steps = steps
        self._decode = decode
        self.error: BaseException | None = None  # what `on_step` raised

    def __call__(
        self, pipeline: Any, place: int, _time: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        # Some schedulers take a step more or less than they are asked for.
        number = (place + 1) * self._steps // pipeline.num_timesteps
        try:
            self._on_step(Step(number, self._steps, partial(self._preview, tensors)))
        except BaseException as error:  # to be told from what the model raises
            self.error = error
            raise
        return {}

    def _preview(self, tensors: dict[str, Any]) -> Image.Image:
        return self._decode(tensors["latents"])


def _run(pipeline: Any, arguments: dict[str, Any], reporter: _StepReporter) -> Image.Image:
    known = inspect.signature(pipeline.__call__).parameters
    try:
        output = pipeline(**{name: value for name, value in arguments.items() if name in known})
    except Exception as error:  # whatever a model raises, memory that is used up among it
        if error is reporter.error:
            raise
        log.exception("generation failed")
        raise GenerationFailed(f"图片生成失败：{_reason(error)}") from error
    finally:
        pipeline.maybe_free_model_hooks()
        _empty_cache()
    if any(getattr(output, "nsfw_content_detected", None) or ()):
        raise GenerationFailed("模型自带的安全检查拦下了这张图片：请换一种说法，或换一个 seed")
    image: Image.Image = output.images[0]
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    """Return what an answer may say of the error: paths and the like stay in the log."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "内存或显存不足"
    return "原因见服务的日志"


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


def _dtype(device: str) -> torch.dtype:
    if device != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _round_up(side: int, pipeline: Any) -> int:
    """Round up to what transformers take: latents in patches of two by two."""
    grain = int(getattr(pipeline, "vae_scale_factor", 8)) * 2
    return -(-side // grain) * grain


def _crop_centre(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _empty_cache() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
