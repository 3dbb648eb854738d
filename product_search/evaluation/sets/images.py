"""Images of queries: files, photos beside the project, and plain surfaces that are drawn."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 224


@dataclass(frozen=True)
class Images:
    """Images by the names that a query set has for them.

    `shared/…` lies under `photos`, `plain/sort-seed` is drawn, all others lie in `folder`.
    """

    folder: Path
    photos: Path

    def content(self, name: str) -> bytes:
        """Return the image's bytes. Raises FileNotFoundError where there is no such file."""
        if name.startswith("plain/"):
            drawn = io.BytesIO()
            draw_plain(name.removeprefix("plain/")).save(drawn, "PNG")
            return drawn.getvalue()
        return self.file_of(name).read_bytes()

    def file_of(self, name: str) -> Path:
        """Return the path of an image that is not drawn."""
        if name.startswith("shared/"):
            return self.photos / name.removeprefix("shared/")
        return self.folder / name


def draw_plain(name: str) -> Image.Image:
    """Draw a surface with nothing on it; `name` is its sort and a seed, like noise-09."""
    sort, _, seed = name.partition("-")
    random = np.random.default_rng(int(seed))
    colours = random.uniform(40, 245, (2, 3))
    if sort == "flat":
        pixels = np.broadcast_to(colours[0], (SIDE, SIDE, 3))
    elif sort == "gradient":
        share = np.linspace(0, 1, SIDE)[:, None, None]
        pixels = colours[0] * (1 - share) + np.broadcast_to(colours[1], (SIDE, SIDE, 3)) * share
    elif sort == "noise":
        pixels = random.uniform(0, 255, (SIDE, SIDE, 3))
    else:
        pixels = random.uniform(190, 230, 3) + _grain(random)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _grain(random: np.random.Generator) -> NDArray[np.float32]:
    """Return coarse and fine grain like plaster's: float32 (SIDE, SIDE, 1)."""
    grain = np.zeros((SIDE, SIDE), np.float32)
    for cells in (7, 28, 112):
        coarse = random.normal(0, 8, (cells, cells)).astype(np.float32)
        grain += np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return grain[..., None]
