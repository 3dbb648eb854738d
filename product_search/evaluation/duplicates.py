"""`python -m product_search.evaluation.duplicates`: how many planted copies are found."""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from nlp_models import EncoderPair
from product_search.bootstrap.encoders import EncoderLoader
from product_search.catalog.identity import title_key
from product_search.evaluation import command
from product_search.evaluation.sets.copies import ImageChange, TitleChange, Variant, copy, variant
from product_search.evaluation.sets.listings import Listing, listing_sets, split_halves
from product_search.grouping import group_pairs
from product_search.images.decoding import decode
from product_search.images.perceptual_hash import perceptual_hash
from product_search.insights.near_pairs import Listing as Compared, Products, find_near_pairs
from product_search.settings import load_settings
from product_search.text.analysis import plain
from product_search.text.document import document

ROUNDS = 3
_VARIANTS = (None, Variant.other_colour, None, Variant.other_size)


@dataclass
class Figures:
    """How many pairs were planted, how many of these found, by kind of change; and wrong pairs."""

    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    wrong: int = 0

    @property
    def recall(self) -> float:
        """Return the share of the planted pairs that were found."""
        return self.found["all"] / max(1, self.planted["all"])

    @property
    def precision(self) -> float:
        """Return the share of the found pairs that were planted."""
        return self.found["all"] / max(1, self.found["all"] + self.wrong)

    def count(self, kinds: Iterable[str], found: bool) -> None:
        """Count a planted pair under each of its kinds."""
        for kind in (*kinds, "all"):
            self.planted[kind] += 1
            self.found[kind] += found


def measure(
    listings: Sequence[Listing], encoders: EncoderPair, changes: Sequence[ImageChange], rounds: int
) -> Figures:
    """Plant a copy of every listing in each round, and count the pairs that are found.

    Every second listing has a variant too, which is no copy of it. The changes of image and title
    go round, so that after as many rounds as there are changes every listing has had every one.
    """
    figures = Figures()
    for turn in range(rounds):
        rng = random.Random(turn)
        shelf = list(listings)
        copies: dict[tuple[int, int], tuple[ImageChange, TitleChange]] = {}
        for place, listing in enumerate(listings):
            change = changes[(place + turn) % len(changes)]
            retitling = tuple(TitleChange)[(place // len(changes) + turn) % len(TitleChange)]
            copies[place, len(shelf)] = (change, retitling)
            shelf.append(copy(listing, change, retitling, rng))
            kind = _VARIANTS[(place + turn) % len(_VARIANTS)]
            other = variant(listing, kind, rng) if kind else None
            if other is not None:
                shelf.append(other)
        found = _pairs_in_groups(find_near_pairs(_products(shelf, encoders)))
        for pair, kinds in copies.items():
            figures.count(kinds, pair in found)
        figures.wrong += len(found - copies.keys())
    return figures


def _pairs_in_groups(pairs: Iterable[tuple[int, int, object, float]]) -> set[tuple[int, int]]:
    """Return every two listings of a group, whether joined by a pair or by a chain of pairs."""
    groups = group_pairs((first, second) for first, second, *_ in pairs)
    return {pair for group in groups for pair in combinations(group, 2)}


def _products(listings: Sequence[Listing], encoders: EncoderPair) -> Products:
    images = [decode(listing.image) for listing in listings]
    documents, _ = encoders.encode_products(
        [document(listing.title, listing.category, listing.description) for listing in listings],
        [plain(listing.title) for listing in listings],
    )
    compared = [
        Compared(
            product_id=place,
            title=listing.title,
            attributes=listing.attributes,
            title_key=title_key(listing.title, listing.brand),
            image_hash=str(hash(listing.image)),
            perceptual_hash=perceptual_hash(image),
        )
        for place, (listing, image) in enumerate(zip(listings, images, strict=True))
    ]
    return Products(compared, encoders.image_text.encode_images(images), documents)


def _show(name: str, figures: Figures) -> None:
    kinds = [*ImageChange, *TitleChange, "all"]
    recalls = "  ".join(
        f"{kind} {figures.found[kind] / figures.planted[kind]:.3f}" for kind in kinds
    )
    sys.stdout.write(
        f"{name}: precision {figures.precision:.4f} ({figures.wrong} wrong), "
        f"recall {figures.recall:.3f} of {figures.planted['all']}\n  {recalls}\n"
    )
    sys.stdout.flush()


def main() -> int:
    """Return 0; 2 after an error, whose reason is logged."""
    return command.run("evaluation.duplicates", _add_arguments, _report)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    command.add_photo_sets(parser)
    parser.add_argument("--half", choices=("tuning", "reported"), default="reported")


def _report(options: argparse.Namespace) -> int:
    """Print precision and recall of one half of each set."""
    encoders = EncoderLoader(load_settings()).load_chosen()
    total = Figures()
    for name, listings in listing_sets(options.photos).items():
        tuning, reported = split_halves(listings(), random.Random(1))
        part = tuning if options.half == "tuning" else reported
        figures = measure(part, encoders, tuple(ImageChange), rounds=ROUNDS)
        _show(name, figures)
        total.planted.update(figures.planted)
        total.found.update(figures.found)
        total.wrong += figures.wrong
    _show("all sets", total)
    return 0


if __name__ == "__main__":
    sys.exit(main())
