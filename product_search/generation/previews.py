"""Previews of latents, by a linear map that is fitted to the model's own VAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

_SIDE = 256  # pixels of the image that is fitted on, and of a preview's longer side
_PATCHES = 8  # colours along a side of that image
_CELLS = 64  # latents are averaged down to so many along a side: averages have less noise


@dataclass(frozen=True)
class PreviewDecoder:
    """A linear map from the channels of latents to RGB."""

    weights: torch.Tensor  # (channels + 1, 3), the last row being the constant

    def decode(self, latents: torch.Tensor, width: int, height: int) -> Image.Image:
        """Draw the first of the latents for an image of this size; the longer side has 256 pixels.

        Latents are (n, channels, rows, columns), or packed: (n, patches, channels x 2 x 2).
        """
        grid = latents[:1].float().cpu()
        if grid.ndim == 3:
            grid = _unpacked(grid, height / width)
        rows, columns = (min(side, _CELLS) for side in grid.shape[2:])
        cells = interpolate(grid, size=(rows, columns), mode="area")[0]
        colours = (_with_constant(cells) @ self.weights).reshape(rows, columns, 3)
        pixels = (colours.clamp(0, 1) * 255).round().numpy()
        scale = _SIDE / max(width, height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = Image.fromarray(np.asarray(pixels, np.uint8))
        return small.resize(size, Image.Resampling.BICUBIC)


@torch.inference_mode()
def fit_preview_decoder(vae: Any) -> PreviewDecoder:
    """Fit a decoder to what the VAE encodes one image of soft colours as."""
    colours = torch.rand(1, 3, _PATCHES, _PATCHES, generator=torch.Generator().manual_seed(0))
    image = interpolate(colours, size=(_SIDE, _SIDE), mode="bilinear")
    latents = _encode(vae, (image * 2 - 1).to(vae.device, vae.dtype)).float().cpu()
    averaged = interpolate(image, size=latents.shape[2:], mode="area")
    known, wanted = _with_constant(latents[0]), averaged[0].flatten(1).T
    # gelsd: latents of few dimensions, where some follow from the others, are no error.
    return PreviewDecoder(torch.linalg.lstsq(known, wanted, driver="gelsd").solution)


def _encode(vae: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return latents as the pipeline's transformer or U-Net has them, before they are packed."""
    if getattr(vae.config, "latents_mean", None):  # Qwen-Image's: an image is a film of one frame
        latents = vae.encode(pixels.unsqueeze(2)).latent_dist.mode().squeeze(2)
        mean, std = (
            torch.tensor(values).to(latents).view(1, -1, 1, 1)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        return torch.as_tensor((latents - mean) / std)
    latents = vae.encode(pixels).latent_dist.mode()
    if hasattr(vae, "bn"):  # FLUX.2's: each place in a patch of two by two has a scale of its own
        variance = vae.bn.running_var + vae.config.batch_norm_eps
        mean, std = (
            values.to(latents)
            .view(1, -1, 2, 2)
            .repeat(1, 1, latents.shape[2] // 2, latents.shape[3] // 2)
            for values in (vae.bn.running_mean, variance.sqrt())
        )
        return torch.as_tensor((latents - mean) / std)
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    return torch.as_tensor((latents - shift) * vae.config.scaling_factor)


def _unpacked(packed: torch.Tensor, aspect: float) -> torch.Tensor:
    """Unpack (1, patches, channels x 2 x 2) to (1, channels, rows, columns)."""
    rows = max(1, round((packed.shape[1] * aspect) ** 0.5))
    columns = packed.shape[1] // rows
    patches = packed.view(rows, columns, -1, 2, 2).permute(2, 0, 3, 1, 4)
    return patches.reshape(1, -1, rows * 2, columns * 2)


def _with_constant(latents: torch.Tensor) -> torch.Tensor:
    """Flatten (channels, height, width) to (height x width, channels + 1)."""
    rows = latents.flatten(1).T
    return torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
