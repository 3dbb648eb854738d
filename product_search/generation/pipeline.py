"""A pipeline of diffusers in memory: how it is opened, how it draws, how it is given back."""

from __future__ import annotations

import gc
import inspect
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from transformers.utils import logging as transformers_logging

from product_search.errors import GenerationFailed
from product_search.generation.diffusers import Offload
from product_search.generation.generator import Step
from product_search.generation.previews import PreviewDecoder, fit_preview_decoder

log = logging.getLogger(__name__)


def open_pipeline(
    folder: Path, device: str, offload: Offload, vae_tiling: bool, name: str
) -> Pipeline:
    """Open the pipeline in a folder. Raises GenerationFailed."""
    try:
        return Pipeline(*_open(folder, device, offload, vae_tiling))
    except Exception as error:  # whatever the libraries raise at files that are damaged
        log.exception("generation model %s can't be loaded", name)
        raise GenerationFailed(f"图片生成模型 {name} 无法加载：{_reason(error)}") from error


class Pipeline:
    """A loaded pipeline, for one generation at a time."""

    def __init__(self, pipeline: Any, decoder: PreviewDecoder) -> None:
        """Take a pipeline of diffusers and what decodes its previews."""
        self._pipeline = pipeline
        self._decoder = decoder

    def generate(
        self,
        on_step: Callable[[Step], None],
        *,
        width: int,
        height: int,
        steps: int,
        seed: int,
        arguments: Mapping[str, Any],
    ) -> Image.Image:
        """Return an RGB image of this size; `arguments` are the pipeline's others.

        Raises:
            GenerationFailed: there is no image.
        """
        pipeline = self._pipeline
        decode = partial(self._decoder.decode, width=width, height=height)
        reporter = _StepReporter(on_step, steps, decode)
        image = _run(
            pipeline,
            {
                **arguments,
                "width": _round_up(width, pipeline),
                "height": _round_up(height, pipeline),
                "num_inference_steps": steps,
                # Noise is drawn on the CPU, so that it is the same for every device.
                "generator": torch.Generator("cpu").manual_seed(seed),
                "callback_on_step_end": reporter,
            },
            reporter,
        )
        return _crop_centre(image, width, height)

    def free(self) -> None:
        """Give the memory back; the pipeline can be used no longer."""
        del self._pipeline, self._decoder
        gc.collect()  # a pipeline and its hooks refer to each other
        _empty_cache()


def _open(
    folder: Path, device: str, offload: Offload, vae_tiling: bool
) -> tuple[Any, PreviewDecoder]:
    for bars in (diffusers_logging, transformers_logging):  # of seconds' work, amid the log
        bars.disable_progress_bar()
    pipeline: Any = DiffusionPipeline.from_pretrained(
        folder, dtype=_dtype(device), local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    if vae_tiling and hasattr(pipeline.vae, "enable_tiling"):
        pipeline.vae.enable_tiling()
    decoder = fit_preview_decoder(pipeline.vae.to(device))
    pipeline.vae.to("cpu")  # offloading begins with everything there
    if offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)
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
