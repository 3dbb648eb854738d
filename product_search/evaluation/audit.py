"""Door: `python -m product_search.evaluation.audit`, disagreements planted and looked for."""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from nlp_models import EncoderPair
from product_search.bootstrap.encoders import EncoderFolders
from product_search.evaluation import command
from product_search.evaluation.sets.listings import Listing, listing_sets
from product_search.images.decoding import decode
from product_search.indexing.stored_vectors import spread_evenly
from product_search.insights.audit import SAMPLE_SIZE
from product_search.insights.disagreement import ImageTitlePairs, relative_scores
from product_search.search.calibration import Calibrations, Curve
from product_search.search.match import FEATURE
from product_search.settings import load_settings
from product_search.text.analysis import plain

SHARE = 0.1  # of the products that get another one's image
ROUNDS = 10
FIRST = 10
_ENCODED_AT_ONCE = 64


class Order(NamedTuple):
    """How well an order has the planted products first; means of all rounds."""

    average_precision: float
    at_first: float  # precision of the first FIRST
    at_planted: float  # precision of as many as were planted


@dataclass(frozen=True)
class Figures:
    """By each score, and what the verdict says of those that are wrong and of those that are not.

    The shares are None where the encoders have no curve.
    """

    planted: int
    by_cosine: Order
    by_standing: Order
    told: float | None
    told_wrongly: float | None


def measure(
    pairs: ImageTitlePairs, kinds: Sequence[str], curve: Curve | None, rounds: int
) -> Figures:
    """In each round other products get each other's images, across kinds."""
    cosine, standing, told, wrongly = [], [], [], []
    count = 0
    for turn in range(rounds):
        swapped, is_wrong = plant(pairs, kinds, random.Random(turn))
        count += int(is_wrong.sum())
        cosine.append(_order(swapped.scores, is_wrong))
        standing.append(_order(relative_scores(swapped, _sample(swapped)), is_wrong))
        if curve is not None:
            below = [curve.confidence({FEATURE: float(one)}) < curve.line for one in swapped.scores]
            told.append(np.mean(np.array(below)[is_wrong]))
            wrongly.append(np.mean(np.array(below)[~is_wrong]))
    return Figures(
        planted=count,
        by_cosine=Order(*np.mean(cosine, axis=0)),
        by_standing=Order(*np.mean(standing, axis=0)),
        told=float(np.mean(told)) if told else None,
        told_wrongly=float(np.mean(wrongly)) if wrongly else None,
    )


def plant(
    pairs: ImageTitlePairs, kinds: Sequence[str], rng: random.Random
) -> tuple[ImageTitlePairs, NDArray[np.bool_]]:
    """A share of the products with the image of one of another kind; and which they are."""
    chosen = sorted(
        rng.sample(range(len(kinds)), round(SHARE * len(kinds))), key=lambda place: kinds[place]
    )
    # Each group of a kind moves past its own end; only a kind of more than half may meet itself.
    most = max(Counter(kinds[place] for place in chosen).values())
    givers = chosen[most:] + chosen[:most]
    pictures, is_wrong = pairs.images.copy(), np.zeros(len(kinds), np.bool_)
    for place, giver in zip(chosen, givers, strict=True):
        if kinds[place] != kinds[giver]:
            pictures[place], is_wrong[place] = pairs.images[giver], True
    return ImageTitlePairs(pairs.keys, pictures, pairs.titles), is_wrong


def _sample(pairs: ImageTitlePairs) -> ImageTitlePairs:
    places = spread_evenly(len(pairs.keys), SAMPLE_SIZE)
    return ImageTitlePairs(pairs.keys[places], pairs.images[places], pairs.titles[places])


def _order(scores: NDArray[np.float32], is_wrong: NDArray[np.bool_]) -> Order:
    worst_first = is_wrong[np.argsort(scores, kind="stable")]
    return Order(
        float(average_precision_score(is_wrong, -scores)),
        float(worst_first[:FIRST].mean()),
        float(worst_first[: is_wrong.sum()].mean()),
    )


def encoded(listings: Sequence[Listing], encoders: EncoderPair) -> ImageTitlePairs:
    """Their images and titles, as indexing encodes them."""
    parts = [
        encoders.image_text.encode_images(
            [decode(one.picture) for one in listings[start : start + _ENCODED_AT_ONCE]]
        )
        for start in range(0, len(listings), _ENCODED_AT_ONCE)
    ]
    titles = encoders.image_text.encode_texts([plain(one.title) for one in listings])
    return ImageTitlePairs(np.arange(len(listings)), np.concatenate(parts), titles)


def kinds_of(listings: Sequence[Listing]) -> list[str]:
    """Categories; of photos, which have none, the name of the thing."""
    return [one.category or one.title.split()[0] for one in listings]


def _show(name: str, products: int, figures: Figures) -> None:
    sys.stdout.write(f"{name}: {products} products, {figures.planted} planted in {ROUNDS} rounds\n")
    for score, order in (("cosine", figures.by_cosine), ("standing", figures.by_standing)):
        sys.stdout.write(
            f"  {score:8}  average precision {order.average_precision:.3f}  "
            f"precision@{FIRST} {order.at_first:.3f}  "
            f"precision@planted {order.at_planted:.3f}\n"
        )
    if figures.told is not None:
        sys.stdout.write(
            f"  verdict mismatch of {figures.told:.3f} of the planted, "
            f"{figures.told_wrongly:.3f} of the others\n"
        )
    sys.stdout.flush()


def main() -> int:
    """0; 2 where it can't be done, with the reason."""
    return command.run("evaluation.audit", command.add_photo_sets, _report)


def _report(options: argparse.Namespace) -> int:
    """How both scores order planted disagreements, and what the verdict says of them."""
    settings = load_settings()
    encoders = EncoderFolders(settings).load_chosen()
    calibrations = Calibrations(settings.calibrations_dir, settings.shipped_calibrations)
    curve = calibrations.find(encoders.fingerprint).pairs
    for name, read in listing_sets(options.photos).items():
        listings = read()
        figures = measure(encoded(listings, encoders), kinds_of(listings), curve, ROUNDS)
        _show(name, len(listings), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
