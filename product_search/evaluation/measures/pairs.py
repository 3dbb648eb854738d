"""Images with their own titles and with others' titles, by the vectors that are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

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
    rows = resources.database.read(_fetch_photos)[half::2]
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


def _fetch_photos(session: Session) -> list[tuple[int, str | None]]:
    """Return the key and the category of each product with a photo, in order of their ids."""
    # What a model made to fit a title says nothing of how photos fit theirs.
    photos = Product.image_hash.is_not(None), Product.image_generated.is_(False)
    in_order = select(Product.milvus_id, Product.category).where(*photos).order_by(Product.id)
    return [(key, category) for key, category in session.execute(in_order)]


def pair_accuracy(curve: Curve, feature: str, pairs: Sequence[Pair]) -> PairAccuracy:
    """Count how often the curve, by its line, tells the pairs that belong from the others."""
    verdicts = [
        (pair.belongs, (curve.confidence({feature: pair.score}) >= curve.line) == pair.belongs)
        for pair in pairs
    ]
    own = [right for belongs, right in verdicts if belongs]
    others = [right for belongs, right in verdicts if not belongs]
    return PairAccuracy(len(pairs), sum(own) / len(own), sum(others) / len(others))
