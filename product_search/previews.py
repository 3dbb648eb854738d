"""Below the generators: what latents look like, by a linear map fitted to the model's own VAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

_SIDE = 256  # pixels of the picture that is fitted on, and of a preview's longer side
_PATCHES = 8  # colours along a side of that picture
_CELLS = 64  # latents are averaged down to so many along a side: averages have less noise


@dataclass(frozen=True)
class Previews:
    """Latents to colours: (channels + 1, 3), the last row being the constant."""

    weights: torch.Tensor | None

    def draw(self, latents: torch.Tensor) -> Image.Image | None:
        """Of the first of these; None where latents are no grid (n, channels, height, width)."""
        if self.weights is None or latents.ndim != 4:
            return None
        grid = latents[:1].float().cpu()
        height, width = (min(side, _CELLS) for side in grid.shape[2:])
        cells = interpolate(grid, size=(height, width), mode="area")[0]
        colours = _with_constant(cells) @ self.weights
        pixels = (colours.reshape(height, width, 3).clamp(0, 1) * 255).round()
        small = Image.fromarray(np.asarray(pixels.numpy(), np.uint8))
        scale = _SIDE / max(latents.shape[2:])
        size = [max(1, round(side * scale)) for side in (latents.shape[3], latents.shape[2])]
        return small.resize((size[0], size[1]), Image.Resampling.BICUBIC)


@torch.inference_mode()
def fit_previews(vae: Any) -> Previews:
    """From what the VAE makes of one picture of soft colours; costs one encoding of it."""
    colours = torch.rand(1, 3, _PATCHES, _PATCHES, generator=torch.Generator().manual_seed(0))
    picture = interpolate(colours, size=(_SIDE, _SIDE), mode="bilinear")
    encoded = vae.encode((picture * 2 - 1).to(vae.device, vae.dtype))
    latents = encoded.latent if hasattr(encoded, "latent") else encoded.latent_dist.mode()
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    latents = (latents.float().cpu() - shift) * vae.config.scaling_factor
    seen = interpolate(picture, size=latents.shape[2:], mode="area")
    known, wanted = _with_constant(latents[0]), seen[0].flatten(1).T
    return Previews(torch.linalg.lstsq(known, wanted).solution)


def _with_constant(latents: torch.Tensor) -> torch.Tensor:
    """(channels, height, width) -> (height x width, channels + 1)."""
    rows = latents.flatten(1).T
    return torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
