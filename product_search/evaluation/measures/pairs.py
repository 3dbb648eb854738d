"""Images with their own titles and with others' titles, by the vectors that are stored."""

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
    """The cosine of an image and a title, and whether both are of one product."""

    score: float
    belongs: bool


@dataclass(frozen=True)
class PairAccuracy:
    """The number of pairs, and the shares of right verdicts on own and on others' titles."""

    count: int
    own: float
    others: float


def read_pairs(resources: Resources, half: int) -> list[Pair]:
    """Pair every second product's photo with its own title and one of another category.

    Args:
        resources: where the products are indexed.
        half: 0 or 1, the first product that counts.
    """
    # What a model made to fit a title says nothing of how photos fit theirs.
    photos = Product.image_hash.is_not(None), Product.image_generated.is_(False)
    in_order = select(Product.milvus_id, Product.category).where(*photos).order_by(Product.id)
    rows = resources.database.read(lambda session: session.execute(in_order).all())[half::2]
    keys = [key for key, _ in rows]
    images = resources.entities.vectors(VectorField.image_clip, keys)
    titles = resources.entities.vectors(VectorField.text_clip, keys)
    pairs = []
    for place, (key, category) in enumerate(rows):
        others = [*rows[place + 1 :], *rows[:place]]
        other = next(other for other, its in others[len(rows) // 3 :] if its != category)
        own, wrong = cosines(images[key], [titles[key], titles[other]])
        pairs += [Pair(own, True), Pair(wrong, False)]
    return pairs


def pair_accuracy(curve: Curve, feature: str, pairs: Sequence[Pair]) -> PairAccuracy:
    """Count how often the curve, by its line, tells the pairs that belong from the others."""
    verdicts = [
        (pair.belongs, (curve.confidence({feature: pair.score}) >= curve.line) == pair.belongs)
        for pair in pairs
    ]
    own = [right for belongs, right in verdicts if belongs]
    others = [right for belongs, right in verdicts if not belongs]
    return PairAccuracy(len(pairs), sum(own) / len(own), sum(others) / len(others))
