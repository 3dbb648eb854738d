"""Products with copies planted among them, and variants that are no copies."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from product_search.settings import ROOT

Rng = random.Random


@dataclass(frozen=True)
class Listing:
    """A product as a seller lists it; `picture` is the file's bytes."""

    title: str
    picture: bytes
    brand: str | None = None
    category: str | None = None
    description: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)


class Change(StrEnum):
    """What a copy's image went through."""

    resized = "resized"
    recompressed = "recompressed"
    cropped = "cropped"
    mirrored = "mirrored"
    watermarked = "watermarked"
    recoloured = "recoloured"


class Retitled(StrEnum):
    """What a copy's title went through."""

    same = "same"
    edited = "edited"
    rewritten = "rewritten"


class Variant(StrEnum):
    """Another product that is sold with nearly the same image and title."""

    other_colour = "other_colour"
    other_size = "other_size"


_ADDED = ("包邮", "新款", "正品", "官方旗舰", "现货", "特价")
_NUMBER = re.compile(r"\d+")
_COLOUR = re.compile("[红橙黄绿青蓝紫粉棕黑白灰]色")
_TURNS = {"红": 0, "黄": 55, "绿": 120, "蓝": 215, "紫": 275}


def opened(listing: Listing) -> Image.Image:
    """The image, transparency over white."""
    image = Image.open(io.BytesIO(listing.picture)).convert("RGBA")
    canvas = Image.new("RGBA", image.size, "white")
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


def copy(listing: Listing, change: Change, retitled: Retitled, rng: Rng) -> Listing:
    """The same product once more, by somebody who hides where it comes from."""
    image = _CHANGES[change](opened(listing), rng)
    quality = rng.randint(30, 60) if change is Change.recompressed else 88
    title, brand = _RETITLED[retitled](listing, rng), listing.brand
    kept = dict(listing.attributes) if rng.random() < 0.5 else {}
    described = listing.description if rng.random() < 0.5 else ""
    if retitled is Retitled.rewritten and rng.random() < 0.5:
        brand = None
    return replace(
        listing,
        title=title,
        picture=_encoded(image, quality),
        brand=brand,
        description=described,
        attributes=kept,
    )


def variant(listing: Listing, kind: Variant, rng: Rng) -> Listing | None:
    """Another product: the thing in another colour, or the same image for another size.

    None where the title names no size that could be another.
    """
    if kind is Variant.other_size:
        title = _NUMBER.sub(lambda found: str(int(found[0]) + rng.randint(1, 9)), listing.title)
        return None if title == listing.title else replace(listing, title=title, attributes={})
    image = opened(listing)
    colour = rng.choice([one for one in _other_hues(image) if one not in listing.title])
    image = _to_hue(image, _TURNS[colour])
    title = f"{colour}色 {_COLOUR.sub('', listing.title)}"
    return replace(listing, title=title, picture=_encoded(image, 88), attributes={"颜色": colour})


def _encoded(image: Image.Image, quality: int) -> bytes:
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
    """A little: white balance, brightness and saturation, as other cameras and filters have."""
    hue, saturation, value = image.convert("HSV").split()
    turn = rng.randint(4, 9) * rng.choice((-1, 1))  # of 256: up to 13 degrees
    turned = Image.merge("HSV", (hue.point(lambda one: (one + turn) % 256), saturation, value))
    bright = ImageEnhance.Brightness(turned.convert("RGB")).enhance(rng.uniform(0.85, 1.15))
    return ImageEnhance.Color(bright).enhance(rng.uniform(0.8, 1.2))


def _to_hue(image: Image.Image, degrees: int) -> Image.Image:
    """Everything but white in this hue, clearly."""
    hsv = np.asarray(image.convert("HSV")).copy()
    coloured = ~_is_white(hsv)
    hsv[coloured, 0] = round(degrees * 255 / 360)
    hsv[coloured, 1] = np.clip(hsv[coloured, 1].astype(int) * 2, 110, 255)
    return Image.fromarray(hsv, "HSV").convert("RGB")


def _is_white(hsv: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((hsv[..., 1] < 25) & (hsv[..., 2] > 230))


def _other_hues(image: Image.Image) -> list[str]:
    """The colours that the image is not of already, as far as it is of any."""
    hsv = np.asarray(image.convert("HSV"))
    angles = hsv[..., 0] * (2 * np.pi / 256)
    weights = hsv[..., 1] * ~_is_white(hsv)
    mean = np.angle((np.exp(1j * angles) * weights).sum(), deg=True) % 360
    away = {name: abs((turn - mean + 180) % 360 - 180) for name, turn in _TURNS.items()}
    return [name for name, turn in away.items() if turn > 60]


_CHANGES: dict[Change, Callable[[Image.Image, Rng], Image.Image]] = {
    Change.resized: _resized,
    Change.recompressed: _unchanged,
    Change.cropped: _cropped,
    Change.mirrored: _mirrored,
    Change.watermarked: _watermarked,
    Change.recoloured: _recoloured,
}


def _same_title(listing: Listing, rng: Rng) -> str:
    del rng
    return listing.title


def _edited(listing: Listing, rng: Rng) -> str:
    """A word before or behind, and the parts in another order or one of them gone."""
    parts = listing.title.split()
    if len(parts) > 2 and rng.random() < 0.5:
        del parts[rng.randrange(1, len(parts))]
    else:
        parts = [*parts[1:], parts[0]]
    added = rng.choice(_ADDED)
    return " ".join([added, *parts] if rng.random() < 0.5 else [*parts, added])


def _rewritten(listing: Listing, rng: Rng) -> str:
    """What the description says, with the name of the thing, its brand or one more part."""
    name, *parts = listing.title.split()
    said = [one for one in listing.description.replace("。", "，").split("，") if one]
    parts = rng.sample(parts, min(1, len(parts)))
    made = [*said[:1], *parts, name] if rng.random() < 0.5 else [name, *said[:1], *parts]
    return " ".join(([listing.brand] if listing.brand and rng.random() < 0.5 else []) + made)


_RETITLED: dict[Retitled, Callable[[Listing, Rng], str]] = {
    Retitled.same: _same_title,
    Retitled.edited: _edited,
    Retitled.rewritten: _rewritten,
}


def sample_listings(catalog: Path) -> list[Listing]:
    """The products of an import file that have an image."""
    with catalog.open(encoding="utf-8", newline="") as stream:
        return [
            Listing(
                title=row["title"],
                picture=(catalog.parent / row["image_path"]).read_bytes(),
                brand=row["brand"] or None,
                category=row["category"] or None,
                description=row["description"],
                attributes=json.loads(row["attributes"] or "{}"),
            )
            for row in csv.DictReader(stream)
            if row["image_path"]
        ]


# What sellers write behind the name of a thing that many of them sell.
_SELLING = (
    "新鲜直达 产地直供，当天发货",
    "家庭装 实惠多件，囤货优选",
    "超市同款 门店配送，半小时到",
    "精选优品 品质严选，售后无忧",
    "今日特惠 限时折扣，先到先得",
    "会员专享 好评如潮，回购很多",
    "百搭实用 日常好物，值得入手",
    "老店推荐 十年口碑，老板实在",
)


def photo_listings(folder: Path, rng: Rng) -> Iterator[Listing]:
    """A product for each photo of the set that is no shelf photo for training."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["kind"] != "photo"]
    for row in rows:
        words, said = rng.choice(_SELLING).split(" ")
        amount = rng.choice(("", "", " 2件", " 3件", " 500g", " 1kg"))
        title, picture = (
            f"{row['title_zh']} {words}{amount}",
            (folder / row["image_path"]).read_bytes(),
        )
        yield Listing(title=title, picture=picture, description=said)


def listing_sets(photos: Path | None) -> dict[str, Callable[[], list[Listing]]]:
    """By name: the sample catalog, and each set of photos in the folder."""
    sets: dict[str, Callable[[], list[Listing]]] = {
        "sample": lambda: sample_listings(ROOT / "sample_data" / "catalog.csv")
    }
    for folder in sorted(photos.iterdir()) if photos else []:
        if (folder / "labels.csv").exists():
            sets[folder.name] = partial(_photos, folder)
    return sets


def _photos(folder: Path) -> list[Listing]:
    return list(photo_listings(folder, random.Random(1)))


def halves(listings: Sequence[Listing], rng: Rng) -> tuple[list[Listing], list[Listing]]:
    """The products in two halves: for choosing thresholds, and for reporting."""
    shuffled = list(listings)
    rng.shuffle(shuffled)
    middle = len(shuffled) // 2
    return shuffled[:middle], shuffled[middle:]
