"""Pairs of products that seem to be one, by their images and their titles together.

An image alone proves little: shops show one photo for every size and colour of a thing. Nor does
a title: many sell apples. So images must look alike, titles must be near, and nothing that both
products state (a measure, a number, a colour, an attribute) may differ.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from data_models import Why
from product_search.encoders.colour import text_colours
from product_search.images.perceptual_hash import (
    Floats,
    PerceptualHashes,
    Places,
    colour_distances,
    differing_bits,
    part_correlation,
)
from product_search.text.analysis import plain, terms

# Chosen on one half of the planted copies (decision 0012): precise before complete.
MAX_BITS = 12  # of 64, by which images that look the same may differ
SURE_BITS = 2  # up to this difference the texts may be less near
MAX_BITS_OF_PARTS = 26  # of 64, by which an image and a part of it may differ
MIN_COSINE_OF_PARTS = 0.85  # of their embeddings
MIN_FIT = 0.95  # of an image and a part of the other
MAX_COLOUR_DISTANCE = 0.2
MIN_TEXT_COSINE = 0.7  # of what BGE embeds: category, title, description
MIN_TEXT_COSINE_UNSURE = 0.8
# An image that so many products share says "no image yet" more than what they are.
PLACEHOLDER_FROM = 20
BLOCK = 1024
MAX_PARTS_TRIED = 5  # for each product, the nearest by embedding
MAX_NEIGHBOURS = 50  # looked at of a product's pairs: these are few, or all alike
_NUMBER = re.compile(r"([\d.]+)(\D*)")


@dataclass(frozen=True)
class Listing:
    """What is compared of a product beside its vectors.

    `title_key` is catalog.identity.title_key; `perceptual_hash` is None without an image.
    """

    product_id: int
    title: str
    attributes: Mapping[str, Any]
    title_key: str
    image_hash: str | None
    perceptual_hash: bytes | None


class Pair(NamedTuple):
    """Two products, by their places in Products, that seem to be one."""

    first: int
    second: int
    why: Why
    similarity: float


@dataclass(frozen=True)
class Products:
    """Products to compare, and their vectors.

    Vectors are float32 (n, dim): of unit length, or zero where a product has none.
    """

    listings: Sequence[Listing]
    image_vectors: Floats
    text_vectors: Floats


def _go_on() -> None:
    """Never stop: the default check."""


def find_near_pairs(products: Products, check: Callable[[], None] = _go_on) -> list[Pair]:
    """Find the pairs that hold groups of duplicates together.

    Each of the products that are alike in everything that is compared is paired with the first.
    No two products that contradict each other come into one group.

    Args:
        products: the products to compare.
        check: called between two steps; raises where the search is to stop.
    """
    first_of: dict[tuple[str | None, str, str], int] = {}
    pairs: list[Pair] = []
    for place, one in enumerate(products.listings):
        key = (one.image_hash, one.title_key, repr(sorted(one.attributes.items())))
        first = first_of.setdefault(key, place)
        if first != place:
            why = Why.same_file if one.image_hash else Why.same_title
            pairs.append(Pair(first, place, why, 1.0))
    distinct = sorted(first_of.values())
    facts = _Facts(products.listings)
    found = {
        *_same_title_pairs(products.listings, distinct, facts),
        *_similar_image_pairs(products, distinct, facts, check),
    }
    return pairs + facts.drop_ambiguous(sorted(found))


def _same_title_pairs(
    listings: Sequence[Listing], places: Sequence[int], facts: _Facts
) -> Iterator[Pair]:
    """Pair each product without an image with one of the same title and brand."""
    by_title: defaultdict[str, list[int]] = defaultdict(list)
    for place in places:
        by_title[listings[place].title_key].append(place)
    for same in by_title.values():
        for place in same:
            if listings[place].image_hash is None:
                for other in same[:PLACEHOLDER_FROM]:
                    if other != place and not facts.contradict(place, other):
                        yield Pair(min(place, other), max(place, other), Why.same_title, 1.0)
                        break


def _similar_image_pairs(
    products: Products, places: Sequence[int], facts: _Facts, check: Callable[[], None]
) -> Iterator[Pair]:
    with_image = _select_with_own_image(products.listings, places)
    listings = [products.listings[place] for place in with_image]
    hashes = PerceptualHashes.parse([one.perceptual_hash or b"" for one in listings])
    image_vectors, text_vectors = (
        products.image_vectors[with_image],
        products.text_vectors[with_image],
    )
    for start in range(0, len(with_image), BLOCK):
        found: list[_NearPairs] = []
        for other in range(start, len(with_image), BLOCK):
            check()
            found.append(_near_in_blocks(hashes, image_vectors, text_vectors, start, other))
        yield from _confirm(_concatenate(found), hashes, listings, with_image, facts, check)


def _select_with_own_image(listings: Sequence[Listing], places: Sequence[int]) -> list[int]:
    """Keep products whose image is not shared by so many that it must be a placeholder."""
    shared: defaultdict[str | None, int] = defaultdict(int)
    for place in places:
        shared[listings[place].image_hash] += 1
    return [
        place
        for place in places
        if listings[place].perceptual_hash is not None
        and shared[listings[place].image_hash] < PLACEHOLDER_FROM
    ]


class _NearPairs(NamedTuple):
    """Pairs that vectors and hashes don't rule out, as columns.

    Places, differing bits of the perceptual hashes, cosines of the images.
    """

    first: Places
    second: Places
    bits: Floats
    cosines: Floats


def _near_in_blocks(
    hashes: PerceptualHashes, image_vectors: Floats, text_vectors: Floats, start: int, other: int
) -> _NearPairs:
    """Compare one block of products with another, or with itself."""
    ours, theirs = slice(start, start + BLOCK), slice(other, other + BLOCK)
    bits, mirrored = differing_bits(hashes.signs[ours], hashes.signs[theirs])
    cosines = image_vectors[ours] @ image_vectors[theirs].T
    near = (bits <= MAX_BITS) | ((bits <= MAX_BITS_OF_PARTS) & (cosines >= MIN_COSINE_OF_PARTS))
    if start == other:
        near = np.triu(near, 1)
    row, column = np.nonzero(near)
    first, second = row + start, column + other
    text_cosines = np.einsum("nd,nd->n", text_vectors[first], text_vectors[second])
    sure = bits[row, column] <= SURE_BITS
    near_texts = text_cosines >= np.where(sure, MIN_TEXT_COSINE, MIN_TEXT_COSINE_UNSURE)
    row, column, first, second = (
        row[near_texts],
        column[near_texts],
        first[near_texts],
        second[near_texts],
    )
    distances = colour_distances(hashes, first, second, mirrored[row, column])
    alike = distances <= MAX_COLOUR_DISTANCE
    row, column = row[alike], column[alike]
    differ = bits[row, column].astype(np.float32)
    return _NearPairs(first[alike], second[alike], differ, cosines[row, column])


def _concatenate(found: Sequence[_NearPairs]) -> _NearPairs:
    return _NearPairs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _confirm(
    found: _NearPairs,
    hashes: PerceptualHashes,
    listings: Sequence[Listing],
    with_image: Sequence[int],
    facts: _Facts,
    check: Callable[[], None],
) -> Iterator[Pair]:
    """Keep pairs that don't contradict each other and, of an image and its part, that fit."""
    tried: defaultdict[int, int] = defaultdict(int)
    for place in np.lexsort((-found.cosines, found.bits > MAX_BITS)):
        check()
        first, second = int(found.first[place]), int(found.second[place])
        if facts.contradict(with_image[first], with_image[second]):
            continue
        bits = int(found.bits[place])
        if bits <= MAX_BITS:
            same = listings[first].image_hash == listings[second].image_hash
            why, similarity = (Why.same_file, 1.0) if same else (Why.perceptual_hash, 1 - bits / 64)
        else:
            tried[first] += 1
            if tried[first] > MAX_PARTS_TRIED or part_correlation(hashes, first, second) < MIN_FIT:
                continue
            why, similarity = Why.embedding, float(found.cosines[place])
        yield Pair(with_image[first], with_image[second], why, round(similarity, 4))


class _Group(NamedTuple):
    """Products that are one so far, and the facts that they have in common."""

    places: set[int]
    stated: Mapping[str, frozenset[str]]


class _Facts:
    """Facts that products state, each product's worked out once."""

    def __init__(self, listings: Sequence[Listing]) -> None:
        self._listings = listings
        self._stated: dict[int, dict[str, frozenset[str]]] = {}

    def contradict(self, first: int, second: int) -> bool:
        """Tell whether both products state a fact of the same name and share no value of it."""
        ours, theirs = self._of(first), self._of(second)
        return any(ours[key].isdisjoint(theirs[key]) for key in ours.keys() & theirs.keys())

    def drop_ambiguous(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Return the pairs, strongest first, that leave every group without a contradiction.

        A product that states no size, say, and is paired with two products of different sizes may
        be a copy of either: both pairs are ambiguous and left out.
        """
        others: defaultdict[int, list[int]] = defaultdict(list)
        for pair in pairs:
            others[pair.first].append(pair.second)
            others[pair.second].append(pair.first)
        ambiguous = {
            (place, one)
            for place, all_others in others.items()
            for one in all_others
            if any(self.contradict(one, other) for other in all_others[:MAX_NEIGHBOURS])
        }
        clear = [
            pair
            for pair in pairs
            if not {(pair.first, pair.second), (pair.second, pair.first)} & ambiguous
        ]
        return list(self._consistent(sorted(clear, key=lambda pair: -pair.similarity)))

    def _consistent(self, pairs: Sequence[Pair]) -> Iterator[Pair]:
        groups: dict[int, _Group] = {}
        for pair in pairs:
            first, second = (
                groups.setdefault(place, _Group({place}, self._of(place)))
                for place in (pair.first, pair.second)
            )
            if first is not second:
                together = {
                    key: first.stated.get(key, values) & values
                    for key, values in second.stated.items()
                }
                if not all(together.values()):
                    continue
                merged = _Group(first.places | second.places, {**first.stated, **together})
                groups |= dict.fromkeys(merged.places, merged)
            yield pair

    def _of(self, place: int) -> dict[str, frozenset[str]]:
        if place not in self._stated:
            self._stated[place] = _facts_of(self._listings[place])
        return self._stated[place]


def _facts_of(listing: Listing) -> dict[str, frozenset[str]]:
    """Return the facts that a product states: measures by unit, models, colours, attributes."""
    stated: defaultdict[str, set[str]] = defaultdict(set)
    for term in terms(listing.title):
        found = _NUMBER.fullmatch(term)
        if found is not None:
            stated[f"in {found[2]}"].add(found[1])
        elif any(char.isdigit() for char in term):
            stated["model"].add(term)
    for colour in np.nonzero(text_colours([plain(listing.title)])[0])[0]:
        stated["colour"].add(str(colour))
    for key, value in listing.attributes.items():
        values = value if isinstance(value, list) else [value]
        stated[f"attribute {key}"] = {" ".join(terms(str(one))) for one in values}
    return {key: frozenset(values) for key, values in stated.items()}
