"""Pictures with their own titles and with others' titles, as the stored vectors have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from data_models import VectorField
from orm_models import Product
from product_search.bootstrap.assemble import Resources
from product_search.search.calibration import Curve
from product_search.search.fusion import cosines


@dataclass(frozen=True)
class Pair:
    """An image and a title, how near they are, and whether they are of one product."""

    score: float
    belongs: bool


@dataclass(frozen=True)
class Judged:
    """Of pairs that a curve has judged: the shares of right verdicts."""

    count: int
    of_own: float
    of_others: float


def pairs(resources: Resources, half: int) -> list[Pair]:
    """Of every second product with a photo: with its own title, and with one of another category.

    `half` is 0 or 1, the first product that counts.
    """
    # What a model made to fit a title says nothing of how photos fit theirs.
    photos = Product.image_hash.is_not(None), Product.image_generated.is_(False)
    pictured = select(Product.milvus_id, Product.category).where(*photos)
    in_order = pictured.order_by(Product.id)
    rows = resources.database.read(lambda session: session.execute(in_order).all())[half::2]
    keys = [key for key, _ in rows]
    images = resources.store.vectors(VectorField.image_clip, keys)
    titles = resources.store.vectors(VectorField.text_clip, keys)
    found = []
    for place, (key, category) in enumerate(rows):
        others = [*rows[place + 1 :], *rows[:place]]
        other = next(other for other, its in others[len(rows) // 3 :] if its != category)
        own, wrong = cosines(images[key], [titles[key], titles[other]])
        found += [Pair(own, True), Pair(wrong, False)]
    return found


def judged(curve: Curve, feature: str, found: Sequence[Pair]) -> Judged:
    """By the curve's line."""
    right = [
        (pair.belongs, (curve.confidence({feature: pair.score}) >= curve.line) == pair.belongs)
        for pair in found
    ]
    own = [ok for belongs, ok in right if belongs]
    others = [ok for belongs, ok in right if not belongs]
    return Judged(len(found), sum(own) / len(own), sum(others) / len(others))
