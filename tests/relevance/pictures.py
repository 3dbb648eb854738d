"""The pictures that the picture queries name; images/README.md says which and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import SHARED

FOLDER = Path(__file__).parent / "images"
SIDE = 224


def picture_queries() -> dict[str, str]:
    """What each query shows: qid -> name of a picture."""
    lines = (FOLDER / "queries.tsv").read_text("utf-8").splitlines()
    return dict(line.split("\t") for line in lines)


def picture(name: str) -> Image.Image:
    """The picture of that name, RGB. A missing file raises FileNotFoundError."""
    if name.startswith("plain/"):
        return _plain(name.removeprefix("plain/"))
    with Image.open(file_of(name)) as image:
        return image.convert("RGB")


def file_of(name: str) -> Path:
    """Where a picture that is not drawn lies: beside the checkout or beside the queries."""
    if name.startswith("shared/"):
        return SHARED / "data" / name.removeprefix("shared/")
    return FOLDER / name


def _plain(name: str) -> Image.Image:
    """A surface without any thing on it; `name` is its sort and a seed, like noise-09."""
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


def _grain(random: np.random.Generator) -> np.ndarray:
    """Unevenness like plaster's, coarse and fine: float32 (SIDE, SIDE, 1)."""
    grain = np.zeros((SIDE, SIDE), np.float32)
    for cells in (7, 28, 112):
        coarse = random.normal(0, 8, (cells, cells)).astype(np.float32)
        grain += np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return grain[..., None]
