"""`python -m product_search.evaluation.audit`: how well an audit finds swapped images."""

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
from product_search.bootstrap.encoders import EncoderLoader
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
BATCH = 64  # images that are encoded at once


class Ranking(NamedTuple):
    """How well a ranking has the swapped products first; means over all rounds."""

    average_precision: float
    at_first: float  # precision of the first FIRST
    at_planted: float  # precision of as many as were swapped


@dataclass(frozen=True)
class Figures:
    """The ranking by each score, and the shares of swapped and other products told a mismatch.

    The shares are None where the encoders have no curve.
    """

    planted: int
    by_cosine: Ranking
    by_relative_score: Ranking
    mismatch_of_planted: float | None
    mismatch_of_others: float | None


def measure(
    pairs: ImageTitlePairs, kinds: Sequence[str], curve: Curve | None, rounds: int
) -> Figures:
    """Swap images of other products in each round, across kinds, and rank them by both scores."""
    by_cosine, by_relative_score, of_planted, of_others = [], [], [], []
    count = 0
    for turn in range(rounds):
        swapped, is_wrong = plant(pairs, kinds, random.Random(turn))
        count += int(is_wrong.sum())
        by_cosine.append(_rank(swapped.scores, is_wrong))
        by_relative_score.append(_rank(relative_scores(swapped, _sample(swapped)), is_wrong))
        if curve is not None:
            confidences = [curve.confidence({FEATURE: float(score)}) for score in swapped.scores]
            is_mismatch = np.array(confidences) < curve.line
            of_planted.append(np.mean(is_mismatch[is_wrong]))
            of_others.append(np.mean(is_mismatch[~is_wrong]))
    return Figures(
        planted=count,
        by_cosine=Ranking(*np.mean(by_cosine, axis=0)),
        by_relative_score=Ranking(*np.mean(by_relative_score, axis=0)),
        mismatch_of_planted=float(np.mean(of_planted)) if of_planted else None,
        mismatch_of_others=float(np.mean(of_others)) if of_others else None,
    )


def plant(
    pairs: ImageTitlePairs, kinds: Sequence[str], rng: random.Random
) -> tuple[ImageTitlePairs, NDArray[np.bool_]]:
    """Give a share of the products images of another kind; return the pairs and which are wrong."""
    chosen = sorted(
        rng.sample(range(len(kinds)), round(SHARE * len(kinds))), key=lambda place: kinds[place]
    )
    # Each group of a kind moves past its own end; only a kind of more than half may meet itself.
    most = max(Counter(kinds[place] for place in chosen).values())
    givers = chosen[most:] + chosen[:most]
    images, is_wrong = pairs.images.copy(), np.zeros(len(kinds), np.bool_)
    for place, giver in zip(chosen, givers, strict=True):
        if kinds[place] != kinds[giver]:
            images[place], is_wrong[place] = pairs.images[giver], True
    return ImageTitlePairs(pairs.keys, images, pairs.titles), is_wrong


def _sample(pairs: ImageTitlePairs) -> ImageTitlePairs:
    places = spread_evenly(len(pairs.keys), SAMPLE_SIZE)
    return ImageTitlePairs(pairs.keys[places], pairs.images[places], pairs.titles[places])


def _rank(scores: NDArray[np.float32], is_wrong: NDArray[np.bool_]) -> Ranking:
    worst_first = is_wrong[np.argsort(scores, kind="stable")]
    return Ranking(
        float(average_precision_score(is_wrong, -scores)),
        float(worst_first[:FIRST].mean()),
        float(worst_first[: is_wrong.sum()].mean()),
    )


def encode(listings: Sequence[Listing], encoders: EncoderPair) -> ImageTitlePairs:
    """Encode images and titles as indexing does."""
    parts = [
        encoders.image_text.encode_images(
            [decode(listing.image) for listing in listings[start : start + BATCH]]
        )
        for start in range(0, len(listings), BATCH)
    ]
    titles = encoders.image_text.encode_texts([plain(listing.title) for listing in listings])
    return ImageTitlePairs(np.arange(len(listings)), np.concatenate(parts), titles)


def kinds_of(listings: Sequence[Listing]) -> list[str]:
    """Return the categories; for photos, which have none, the names of the things."""
    return [listing.category or listing.title.split()[0] for listing in listings]


def _show(name: str, products: int, figures: Figures) -> None:
    sys.stdout.write(f"{name}: {products} products, {figures.planted} planted in {ROUNDS} rounds\n")
    for score, ranking in (("cosine", figures.by_cosine), ("standing", figures.by_relative_score)):
        sys.stdout.write(
            f"  {score:8}  average precision {ranking.average_precision:.3f}  "
            f"precision@{FIRST} {ranking.at_first:.3f}  "
            f"precision@planted {ranking.at_planted:.3f}\n"
        )
    if figures.mismatch_of_planted is not None:
        sys.stdout.write(
            f"  verdict mismatch of {figures.mismatch_of_planted:.3f} of the planted, "
            f"{figures.mismatch_of_others:.3f} of the others\n"
        )
    sys.stdout.flush()


def main() -> int:
    """Return 0; 2 after an error, whose reason is logged."""
    return command.run("evaluation.audit", command.add_photo_sets, _report)


def _report(options: argparse.Namespace) -> int:
    """Print how both scores rank swapped images, and how often the verdict is a mismatch."""
    settings = load_settings()
    encoders = EncoderLoader(settings).load_chosen()
    calibrations = Calibrations(settings.calibrations_dir, settings.shipped_calibrations)
    curve = calibrations.find(encoders.fingerprint).pairs
    for name, read in listing_sets(options.photos).items():
        listings = read()
        figures = measure(encode(listings, encoders), kinds_of(listings), curve, ROUNDS)
        _show(name, len(listings), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
