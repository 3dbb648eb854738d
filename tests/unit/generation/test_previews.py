"""Previews: which colours latents stand for, and where."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from diffusers import Flux2KleinPipeline, QwenImagePipeline
from torch.nn.functional import avg_pool2d

from product_search.generation.previews import PreviewDecoder, fit_preview_decoder


class PlainVae:
    """Its latents are the colours of eight by eight pixels, mixed."""

    device = torch.device("cpu")
    dtype = torch.float32
    config = SimpleNamespace(scaling_factor=0.36, shift_factor=0.11)
    mixed = torch.tensor([[2.0, 0, 1], [0, 1, 0], [1, -1, 1], [0, 0, -3]])

    def encode(self, pixels: torch.Tensor) -> SimpleNamespace:
        """Four channels of three colours."""
        latents = torch.einsum("lc,nchw->nlhw", self.mixed, avg_pool2d(pixels, 8))
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))


def test_a_preview_has_the_colours_of_the_image() -> None:
    vae = PlainVae()
    red_and_teal = torch.full((1, 3, 128, 256), -1.0)
    red_and_teal[:, 0, :, :128] = 1.0
    red_and_teal[:, 1:, :, 128:] = 0.0
    latents = vae.encode(red_and_teal).latent_dist.mode()
    shown = fit_preview_decoder(vae).decode((latents - 0.11) * 0.36, width=256, height=128)
    assert shown.size == (256, 128)
    for x, colour in ((32, (255, 0, 0)), (224, (0, 128, 128))):
        seen = shown.getpixel((x, 64))
        assert isinstance(seen, tuple)
        assert max(abs(one - other) for one, other in zip(seen, colour, strict=True)) <= 2


@pytest.mark.parametrize("kind", ["klein", "qwen"])
@pytest.mark.parametrize("side", [32, 128])
def test_packed_latents_are_drawn_as_what_was_packed(kind: str, side: int) -> None:
    draws = torch.Generator().manual_seed(0)
    grid = torch.rand(1, 4, side, 24, generator=draws)
    packed = (
        Flux2KleinPipeline._pack_latents(Flux2KleinPipeline._patchify_latents(grid))
        if kind == "klein"
        else QwenImagePipeline._pack_latents(grid, 1, 4, side, 24)
    )
    previews = PreviewDecoder(torch.rand(5, 3, generator=draws) / 4)
    shown, plain = (previews.decode(one, width=192, height=8 * side) for one in (packed, grid))
    assert packed.ndim == 3
    assert shown.tobytes() == plain.tobytes()
