"""Copies of listings, as they are planted among them, and variants that are no copies."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from product_search.evaluation.sets.listings import Listing

Rng = random.Random


class ImageChange(StrEnum):
    """What is done to a copy's image."""

    resized = "resized"
    recompressed = "recompressed"
    cropped = "cropped"
    mirrored = "mirrored"
    watermarked = "watermarked"
    recoloured = "recoloured"


class TitleChange(StrEnum):
    """What is done to a copy's title."""

    same = "same"
    edited = "edited"
    rewritten = "rewritten"


class Variant(StrEnum):
    """Another product that is sold with nearly the same image and title."""

    other_colour = "other_colour"
    other_size = "other_size"


_ADDITIONS = ("包邮", "新款", "正品", "官方旗舰", "现货", "特价")
_NUMBER = re.compile(r"\d+")
_COLOUR = re.compile("[红橙黄绿青蓝紫粉棕黑白灰]色")
_HUES = {"红": 0, "黄": 55, "绿": 120, "蓝": 215, "紫": 275}


def open_image(listing: Listing) -> Image.Image:
    """Open the image as RGB, transparency over white."""
    image = Image.open(io.BytesIO(listing.image)).convert("RGBA")
    canvas = Image.new("RGBA", image.size, "white")
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


def copy(listing: Listing, change: ImageChange, title_change: TitleChange, rng: Rng) -> Listing:
    """List the same product once more, as somebody who hides where it comes from."""
    image = _IMAGE_CHANGES[change](open_image(listing), rng)
    quality = rng.randint(30, 60) if change is ImageChange.recompressed else 88
    title, brand = _TITLE_CHANGES[title_change](listing, rng), listing.brand
    kept = dict(listing.attributes) if rng.random() < 0.5 else {}
    description = listing.description if rng.random() < 0.5 else ""
    if title_change is TitleChange.rewritten and rng.random() < 0.5:
        brand = None
    return replace(
        listing,
        title=title,
        image=_jpeg(image, quality),
        brand=brand,
        description=description,
        attributes=kept,
    )


def variant(listing: Listing, kind: Variant, rng: Rng) -> Listing | None:
    """List another product: the thing in another colour, or the same image for another size.

    Returns:
        None where another size is asked for and the title names none.
    """
    if kind is Variant.other_size:
        title = _NUMBER.sub(lambda found: str(int(found[0]) + rng.randint(1, 9)), listing.title)
        return None if title == listing.title else replace(listing, title=title, attributes={})
    image = open_image(listing)
    colour = rng.choice([hue for hue in _other_hues(image) if hue not in listing.title])
    image = _to_hue(image, _HUES[colour])
    title = f"{colour}色 {_COLOUR.sub('', listing.title)}"
    return replace(listing, title=title, image=_jpeg(image, 88), attributes={"颜色": colour})


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _resized(image: Image.Image, rng: Rng) -> Image.Image:
    scale = rng.choice((0.35, 0.5, 0.7, 1.5))
    return image.resize((round(image.width * scale), round(image.height * scale)))


def _unchanged(image: Image.Image, rng: Rng) -> Image.Image:
    del rng
    return image


def _cropped(image: Image.Image, rng: Rng) -> Image.Image:
    width, height = (round(side * rng.uniform(0.85, 0.95)) for side in image.size)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


def _mirrored(image: Image.Image, rng: Rng) -> Image.Image:
    del rng
    return ImageOps.mirror(image)


def _watermarked(image: Image.Image, rng: Rng) -> Image.Image:
    layer = Image.new("RGBA", image.size)
    draw = ImageDraw.Draw(layer)
    size = max(10, image.width // 8)
    colour = rng.choice(("white", "black", "#c00000"))
    alpha = rng.randint(90, 150)
    for row in range(3):
        place = (rng.randint(0, image.width // 3), row * image.height // 3 + rng.randint(0, size))
        draw.text(place, "SHOP 4U.example", font_size=size, fill=colour)
    faint = layer.getchannel("A").point(lambda value: value * alpha // 255)
    layer.putalpha(faint)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _recoloured(image: Image.Image, rng: Rng) -> Image.Image:
    """Change white balance, brightness and saturation a little, as other cameras do."""
    hue, saturation, value = image.convert("HSV").split()
    turn = rng.randint(4, 9) * rng.choice((-1, 1))  # of 256: up to 13 degrees
    turned = Image.merge("HSV", (hue.point(lambda level: (level + turn) % 256), saturation, value))
    bright = ImageEnhance.Brightness(turned.convert("RGB")).enhance(rng.uniform(0.85, 1.15))
    return ImageEnhance.Color(bright).enhance(rng.uniform(0.8, 1.2))


def _to_hue(image: Image.Image, degrees: int) -> Image.Image:
    """Give everything but white this hue, clearly."""
    hsv = np.asarray(image.convert("HSV")).copy()
    coloured = ~_is_white(hsv)
    hsv[coloured, 0] = round(degrees * 255 / 360)
    hsv[coloured, 1] = np.clip(hsv[coloured, 1].astype(int) * 2, 110, 255)
    return Image.fromarray(hsv, "HSV").convert("RGB")


def _is_white(hsv: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((hsv[..., 1] < 25) & (hsv[..., 2] > 230))


def _other_hues(image: Image.Image) -> list[str]:
    """Return the colours far from the image's mean hue."""
    hsv = np.asarray(image.convert("HSV"))
    angles = hsv[..., 0] * (2 * np.pi / 256)
    weights = hsv[..., 1] * ~_is_white(hsv)
    mean = np.angle((np.exp(1j * angles) * weights).sum(), deg=True) % 360
    away = {name: abs((turn - mean + 180) % 360 - 180) for name, turn in _HUES.items()}
    return [name for name, turn in away.items() if turn > 60]


_IMAGE_CHANGES: dict[ImageChange, Callable[[Image.Image, Rng], Image.Image]] = {
    ImageChange.resized: _resized,
    ImageChange.recompressed: _unchanged,
    ImageChange.cropped: _cropped,
    ImageChange.mirrored: _mirrored,
    ImageChange.watermarked: _watermarked,
    ImageChange.recoloured: _recoloured,
}


def _same_title(listing: Listing, rng: Rng) -> str:
    del rng
    return listing.title


def _edited(listing: Listing, rng: Rng) -> str:
    """Add a word before or behind, and move or drop one of the parts."""
    parts = listing.title.split()
    if len(parts) > 2 and rng.random() < 0.5:
        del parts[rng.randrange(1, len(parts))]
    else:
        parts = [*parts[1:], parts[0]]
    added = rng.choice(_ADDITIONS)
    return " ".join([added, *parts] if rng.random() < 0.5 else [*parts, added])


def _rewritten(listing: Listing, rng: Rng) -> str:
    """Join the description's first clause, the thing's name, and perhaps its brand or one part."""
    name, *parts = listing.title.split()
    clauses = [part for part in listing.description.replace("。", "，").split("，") if part]
    parts = rng.sample(parts, min(1, len(parts)))
    words = [*clauses[:1], *parts, name] if rng.random() < 0.5 else [name, *clauses[:1], *parts]
    return " ".join(([listing.brand] if listing.brand and rng.random() < 0.5 else []) + words)


_TITLE_CHANGES: dict[TitleChange, Callable[[Listing, Rng], str]] = {
    TitleChange.same: _same_title,
    TitleChange.edited: _edited,
    TitleChange.rewritten: _rewritten,
}
