"""Images to pixels, as CLIP's checkpoints want them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from product_search.encoders.embeddings import Matrix
from product_search.errors import EncoderError

# What an entry of preprocessor_config.json is where the file does not have it.
_DEFAULTS: Mapping[str, Any] = {
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": Image.Resampling.BICUBIC,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


@dataclass(frozen=True)
class ImageProcessor:
    """Resizing, cropping and normalising of images, as preprocessor_config.json says."""

    shortest: int | None  # the length that an image's shorter side gets
    size: tuple[int, int] | None  # width and height that an image is squeezed into
    resample: Image.Resampling
    crop: tuple[int, int] | None  # width and height of what is cut from the middle
    factor: float | None  # of all values
    mean: Matrix | None  # of each channel, taken away
    std: Matrix | None  # of each channel, divided by

    @classmethod
    def read(cls, folder: Path, side: int) -> ImageProcessor:
        """Read the processor of a checkpoint whose network takes squares of this side.

        Raises:
            EncoderError: there is none, or what it makes are not such squares.
        """
        path = folder / "preprocessor_config.json"
        try:
            config = {**_DEFAULTS, **json.loads(path.read_text("utf-8"))}
            processor = cls._of(config)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EncoderError(f"{path} 无法读取：{error}") from error
        if (processor.crop or processor.size) != (side, side):
            raise EncoderError(f"{path} 与 config.json 不符：图片应缩放或裁剪为 {side}×{side} 像素")
        return processor

    @classmethod
    def _of(cls, config: Mapping[str, Any]) -> ImageProcessor:
        is_resized, is_normalised = config["do_resize"], config["do_normalize"]
        size = config["size"]
        size = {"shortest_edge": size} if isinstance(size, int) else size
        resample = config["resample"]
        return cls(
            shortest=int(size["shortest_edge"]) if is_resized and "height" not in size else None,
            size=_width_height(size) if is_resized and "height" in size else None,
            resample=Image.Resampling(Image.Resampling.BILINEAR if resample is None else resample),
            crop=_width_height(config["crop_size"]) if config["do_center_crop"] else None,
            factor=float(config["rescale_factor"]) if config["do_rescale"] else None,
            mean=np.array(config["image_mean"], np.float32) if is_normalised else None,
            std=np.array(config["image_std"], np.float32) if is_normalised else None,
        )

    def pixels(self, image: Image.Image) -> Matrix:
        """Return float32 (3, side, side) of an RGB image of any size."""
        values = np.asarray(self._cropped(self._resized(image)))
        if self.factor is not None:
            values = values * self.factor  # in double precision, as the published processor does
        values = values.astype(np.float32)
        if self.mean is not None and self.std is not None:
            values = (values - self.mean) / self.std
        return np.ascontiguousarray(values.transpose(2, 0, 1))

    def _resized(self, image: Image.Image) -> Image.Image:
        if self.shortest is not None:
            shorter = min(image.size)
            width, height = (int(self.shortest * length / shorter) for length in image.size)
            return image.resize((width, height), self.resample)
        return image if self.size is None else image.resize(self.size, self.resample)

    def _cropped(self, image: Image.Image) -> Image.Image:
        """Cut out the middle; what the image does not have is black."""
        if self.crop is None:
            return image
        left, top = (
            _margin(length, wanted) for length, wanted in zip(image.size, self.crop, strict=True)
        )
        return image.crop((left, top, left + self.crop[0], top + self.crop[1]))


def _width_height(size: int | Mapping[str, int]) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    return int(size["width"]), int(size["height"])


def _margin(length: int, wanted: int) -> int:
    """Return where the middle begins, rounded as the published processor rounds."""
    return (length - wanted) // 2
