"""Products as sellers list them, read from the sample catalog and from photo sets."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from product_search.settings import ROOT


@dataclass(frozen=True)
class Listing:
    """A product as a seller lists it; `image` is the file's bytes."""

    title: str
    image: bytes
    brand: str | None = None
    category: str | None = None
    description: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)


def sample_listings(catalog: Path) -> list[Listing]:
    """Read the products of an import file that have an image."""
    with catalog.open(encoding="utf-8", newline="") as stream:
        return [
            Listing(
                title=row["title"],
                image=(catalog.parent / row["image_path"]).read_bytes(),
                brand=row["brand"] or None,
                category=row["category"] or None,
                description=row["description"],
                attributes=json.loads(row["attributes"] or "{}"),
            )
            for row in csv.DictReader(stream)
            if row["image_path"]
        ]


# What sellers add to the name of a thing that many of them sell.
_SLOGANS = (
    "新鲜直达 产地直供，当天发货",
    "家庭装 实惠多件，囤货优选",
    "超市同款 门店配送，半小时到",
    "精选优品 品质严选，售后无忧",
    "今日特惠 限时折扣，先到先得",
    "会员专享 好评如潮，回购很多",
    "百搭实用 日常好物，值得入手",
    "老店推荐 十年口碑，老板实在",
)


def photo_listings(folder: Path, rng: random.Random) -> Iterator[Listing]:
    """Read a photo set, but for the shelf photos that the starter is trained on."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["kind"] != "photo"]
    for row in rows:
        words, description = rng.choice(_SLOGANS).split(" ")
        amount = rng.choice(("", "", " 2件", " 3件", " 500g", " 1kg"))
        image = (folder / row["image_path"]).read_bytes()
        title = f"{row['title_zh']} {words}{amount}"
        yield Listing(title=title, image=image, description=description)


def listing_sets(photos: Path | None) -> dict[str, Callable[[], list[Listing]]]:
    """Return readers by name: of the sample catalog, and of each photo set in the folder."""
    sets: dict[str, Callable[[], list[Listing]]] = {
        "sample": partial(sample_listings, ROOT / "sample_data" / "catalog.csv")
    }
    for folder in sorted(photos.iterdir()) if photos else []:
        if (folder / "labels.csv").exists():
            sets[folder.name] = partial(_read_photo_set, folder)
    return sets


def _read_photo_set(folder: Path) -> list[Listing]:
    return list(photo_listings(folder, random.Random(1)))


def split_halves(
    listings: Sequence[Listing], rng: random.Random
) -> tuple[list[Listing], list[Listing]]:
    """Split the listings at random: for choosing thresholds, and for reporting."""
    shuffled = list(listings)
    rng.shuffle(shuffled)
    middle = len(shuffled) // 2
    return shuffled[:middle], shuffled[middle:]
