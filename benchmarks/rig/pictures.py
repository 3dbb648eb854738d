"""Small pictures in any number: parts of the sample catalogue's, each seeded and no two alike."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator

from PIL import Image, ImageOps

from product_search.settings import ROOT

SIDE = 256
SAMPLE = ROOT / "sample_data"


def pictures(seed: int, count: int) -> Iterator[bytes]:
    """Yield so many JPEG files of 256 pixels a side: a part of a picture, perhaps mirrored."""
    draws = random.Random(seed)
    whole = list(_samples())
    for _ in range(count):
        picture = draws.choice(whole)
        side = draws.uniform(0.6, 1.0) * min(picture.size)
        left, top = (draws.uniform(0, length - side) for length in picture.size)
        part = picture.resize((SIDE, SIDE), box=(left, top, left + side, top + side))
        if draws.random() < 0.5:
            part = ImageOps.mirror(part)
        written = io.BytesIO()
        part.save(written, "JPEG", quality=draws.randint(80, 90))
        yield written.getvalue()


def _samples() -> Iterator[Image.Image]:
    with (SAMPLE / "catalog.csv").open(encoding="utf-8") as stream:
        names = [row["image_path"] for row in csv.DictReader(stream) if row["image_path"]]
    for name in names:
        with Image.open(SAMPLE / name) as file:
            yield file.convert("RGB")
