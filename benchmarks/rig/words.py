"""Queries and products made up from vocabulary.toml, the same for the same seed."""

from __future__ import annotations

import itertools
import random
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY = Path(__file__).with_name("vocabulary.toml")
SHORTEST, LONGEST = 2, 20  # characters of a query
# What a query is made of, and how often such a query comes; a space is typed where one stands.
_QUERIES = {
    "{thing}": 3,
    "{colour}{thing}": 10,
    "{colour}的{thing}": 4,
    "{material}{thing}": 8,
    "{feature}{thing}": 10,
    "{buyer}{thing}": 8,
    "{brand}{thing}": 5,
    "{brand} {colour}{thing}": 5,
    "{thing} {feature}": 8,
    "{thing} {size}": 6,
    "{use}{thing}": 6,
    "{use}用的{thing}": 4,
    "{feature}{material}{thing}": 8,
    "{colour}{material}{thing}": 8,
    "{buyer}{use}{thing}": 6,
    "{praise}{thing}{buyer}": 6,
    "{buyer}{thing} {feature} {colour}": 8,
    "{feature}的{colour}{thing}": 6,
    "{ask}{feature}的{thing}": 4,
    "{ask}{buyer}{use}的{thing}": 4,
    "{brand}{thing} {size} {feature}": 5,
    "{material}{thing} {praise} {use}": 6,
    "{thing}{buyer}{praise}{feature}": 6,
    "{size}{feature}{thing} {buyer}": 5,
}
_TITLES = (
    "{brand} {colour}{material}{thing} {feature} {praise} {use}",
    "{brand}{thing}{buyer}{feature}{praise}{colour}{size}",
    "{praise}{material}{thing} {buyer}{use} {feature} {colour}",
    "{brand} {feature}{feature2}{thing} {size} {buyer}",
    "{thing} {material} {feature} {feature2} {use}必备 {colour}",
    "{buyer}{use}{thing}{praise}{material}{feature}",
)


@dataclass(frozen=True)
class Category:
    """One category's words, by kind."""

    name: str
    words: dict[str, list[str]]

    def draw(self, draws: random.Random) -> dict[str, str]:
        """Return one word of each kind."""
        found = {kind: draws.choice(words) for kind, words in self.words.items()}
        others = [word for word in self.words["feature"] if word != found["feature"]]
        return found | {"feature2": draws.choice(others)}


@cache
def categories() -> tuple[Category, ...]:
    """Return the categories of the vocabulary, those words that all share among their own."""
    read = tomllib.loads(VOCABULARY.read_text("utf-8"))
    own = read.pop("category")
    shared = _by_kind(read)
    return tuple(Category(name, shared | _by_kind(words)) for name, words in own.items())


def _by_kind(words: dict[str, str]) -> dict[str, list[str]]:
    return {kind.removesuffix("s"): listed.split() for kind, listed in words.items()}


def queries(seed: int, count: int) -> list[str]:
    """Return so many queries, no two alike, in an order that has no trend."""
    draws = random.Random(seed)
    forms, weights = list(_QUERIES), list(itertools.accumulate(_QUERIES.values()))
    found: dict[str, None] = {}
    while len(found) < count:
        form = draws.choices(forms, cum_weights=weights)[0]
        query = form.format_map(draws.choice(categories()).draw(draws))
        if SHORTEST <= len(query) <= LONGEST:
            found[query] = None
    mixed = list(found)
    draws.shuffle(mixed)  # else the short ones, of which there are few, would all come first
    return mixed


def zipf(seed: int, items: Sequence[str], count: int) -> list[str]:
    """Return so many draws from the items, the n-th of them with a probability like 1 / n."""
    chances = 1 / np.arange(1, len(items) + 1)
    drawn = np.random.default_rng(seed).choice(len(items), count, p=chances / chances.sum())
    return [items[place] for place in drawn]


def products(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield so many products, as columns of an import file without pictures."""
    draws = random.Random(seed)
    for number in range(count):
        category = draws.choice(categories())
        words = category.draw(draws)
        yield {
            "sku": f"B-{number:06}",
            "title": draws.choice(_TITLES).format_map(words),
            "description": "{feature}，{feature2}，{material}材质，{use}好帮手。".format_map(words),
            "category": category.name,
            "brand": words["brand"] if draws.random() < 0.8 else "",
            "price": f"{draws.lognormvariate(4.5, 1):.2f}" if draws.random() < 0.9 else "",
            "attributes": {"颜色": words["colour"], "材质": words["material"]},
        }
