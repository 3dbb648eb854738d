"""Training images: photos and emoji drawings, and the random views of each."""

from __future__ import annotations

import colorsys
import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

SIDE = 256  # of the canvas that a drawing is laid on
TURN_DEGREES = 15.0
DRAWING_SUFFIXES = (".webp", "-fe0f.webp", ".png", "-fe0f.png")


@dataclass(frozen=True)
class Photo:
    """One row of a labels.csv; `label` is `set:class_id`."""

    path: Path
    label: str
    title: str
    kind: str


def read_photos(name: str, folder: Path) -> list[Photo]:
    """Read the labels.csv of the photo set of this name, in its order."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        return [
            Photo(
                folder / row["image_path"],
                f"{name}:{row['class_id']}",
                row["title_zh"],
                row["kind"],
            )
            for row in csv.DictReader(stream)
        ]


def find_drawing(folder: Path, code_point: str) -> Path:
    """Find the emoji's file in a package's folder.

    Raises:
        FileNotFoundError: the package has no such emoji.
    """
    for suffix in DRAWING_SUFFIXES:
        if (folder / f"{code_point}{suffix}").is_file():
            return folder / f"{code_point}{suffix}"
    raise FileNotFoundError(f"no picture of {code_point} in {folder}")


def open_image(path: Path) -> Image.Image:
    """Open the image upright as RGB, transparency over white."""
    with Image.open(path) as file:
        upright = ImageOps.exif_transpose(file)
        if upright.has_transparency_data:
            ground = Image.new("RGBA", upright.size, "white")
            return Image.alpha_composite(ground, upright.convert("RGBA")).convert("RGB")
        return upright.convert("RGB")


def photo_views(path: Path, count: int, seed: int) -> list[Image.Image]:
    """Return the photo, its mirror image, and random crops in other light up to `count`."""
    picture, rng = open_image(path), random.Random(seed)
    views = [picture, ImageOps.mirror(picture)]
    views += [
        jitter_colours(random_crop(picture, rng), rng, 0.3) for _ in range(count - len(views))
    ]
    return views[:count]


def drawing_views(
    path: Path, backgrounds: Sequence[Path], count: int, seed: int
) -> list[Image.Image]:
    """Return the drawing on white, and on random backgrounds in random place, size and light.

    Args:
        path: an image on transparent ground.
        backgrounds: photos that serve, blurred, as backgrounds.
        count: how many views.
        seed: of the random choices.
    """
    drawing, rng = read_drawing(path), random.Random(seed)
    views = [paste_on(drawing, Image.new("RGB", (SIDE, SIDE), "white"), 1.0, (0.5, 0.5))]
    while len(views) < count:
        place = (rng.random(), rng.random())
        view = paste_on(drawing, random_background(backgrounds, rng), rng.uniform(0.45, 1), place)
        if rng.random() < 0.5:
            view = ImageOps.mirror(view)
        views.append(jitter_colours(random_turn(view, rng), rng, 0.25))
    return views


def read_drawing(path: Path) -> Image.Image:
    """Open the image as RGBA without its transparent margin."""
    with Image.open(path) as file:
        picture = file.convert("RGBA")
    return picture.crop(picture.getbbox())


def paste_on(
    drawing: Image.Image, background: Image.Image, scale: float, place: tuple[float, float]
) -> Image.Image:
    """Paste an RGBA drawing on an RGB background.

    Args:
        drawing: what is pasted.
        background: a square, which is not changed.
        scale: the drawing's longer side, as a share of the background's.
        place: the shares of the free room left of and above the drawing.
    """
    factor = background.width * scale / max(drawing.size)
    size = (max(1, int(drawing.width * factor)), max(1, int(drawing.height * factor)))
    fitted, canvas = drawing.resize(size, Image.Resampling.BICUBIC), background.copy()
    room = (canvas.width - fitted.width, canvas.height - fitted.height)
    canvas.paste(fitted, (int(room[0] * place[0]), int(room[1] * place[1])), fitted)
    return canvas


def random_background(photos: Sequence[Path], rng: random.Random) -> Image.Image:
    """Make a background: near white, one colour, a gradient, or a blurred part of a photo."""
    kind = rng.random()
    if kind < 0.3:
        return Image.new("RGB", (SIDE, SIDE), (rng.randint(200, 255),) * 3)
    if kind < 0.55:
        colour = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.05, 0.5), rng.uniform(0.3, 1))
        red, green, blue = (round(255 * channel) for channel in colour)
        return Image.new("RGB", (SIDE, SIDE), (red, green, blue))
    if kind < 0.7:
        ends = np.array([[rng.randint(60, 255) for _ in range(3)] for _ in range(2)])
        share = np.linspace(0, 1, SIDE)[:, None, None]
        gradient = (ends[0] * share + ends[1] * (1 - share)) * np.ones((SIDE, SIDE, 1))
        return Image.fromarray(gradient.astype(np.uint8))
    part = random_crop(open_image(rng.choice(photos)), rng).resize((SIDE, SIDE))
    return part.filter(ImageFilter.GaussianBlur(rng.uniform(6, 16)))


def random_crop(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Crop a third or more of the image's area; turn it sometimes, mirror it half the time."""
    area, shape = rng.uniform(0.35, 1.0), np.exp(rng.uniform(-0.35, 0.35))
    width = min(picture.width, int(picture.width * np.sqrt(area * shape)))
    height = min(picture.height, int(picture.height * np.sqrt(area / shape)))
    left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
    part = random_turn(picture, rng).crop((left, top, left + width, top + height))
    return ImageOps.mirror(part) if rng.random() < 0.5 else part


def random_turn(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Turn one image in four a little."""
    if rng.random() > 0.25:
        return picture
    angle = rng.uniform(-TURN_DEGREES, TURN_DEGREES)
    return picture.rotate(angle, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128))


def jitter_colours(picture: Image.Image, rng: random.Random, strength: float) -> Image.Image:
    """Change brightness, contrast and saturation by up to `strength`."""
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = change(picture).enhance(rng.uniform(1 - strength, 1 + strength))
    return picture
