"""Titles for an image: the nearest that exist, and a new one of what the best of them agree on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from data_models import (
    MAX_TOP_K,
    SearchHit,
    SearchMode,
    SearchRequest,
    TitleHit,
    TitlesRequest,
    TitlesResponse,
    TitleSuggestion,
)
from product_search.search.search import SearchService
from product_search.text.analysis import Script, fold, pieces, words

# The confidence from which a title says what kind of thing the image shows. Lower than a
# search's, below which the title is not the image's own: chosen on the tuning half of
# product_search.evaluation.titles, the lowest at which four of five suggestions are right.
KIND_LINE = 0.03
_VOTERS = 5
_SCALE = 0.05  # of two titles, the one whose cosine is this much lower counts 1/e of the other
_MAJORITY = 0.6
_COLOUR = "颜色"


def suggest_titles(
    search: SearchService,
    request: TitlesRequest,
    min_confidence: float = KIND_LINE,
) -> TitlesResponse:
    """Return the existing titles nearest to the image, each once, and a new one of the best.

    A product's own title is not among those for its image; titles below `min_confidence` don't
    count.

    Raises:
        InvalidImage, ImageTooLarge, ImageTooManyPixels, ImageTooComplex: of the image.
        ProductNotFound, ProductWithoutImage, ImageNotFound: of the product.
        DatabaseUnavailable, VectorStoreUnavailable: a store is down.
    """
    given = {name: value for name, value in request if value is not None}
    page = {"mode": SearchMode.image_to_text, "top_k": MAX_TOP_K, "min_confidence": 0}
    response = search.search(SearchRequest.model_validate(given | page))
    titles = distinct_titles(
        hit
        for hit in response.hits
        if (hit.confidence is None or hit.confidence >= min_confidence)
        and hit.product.product_id != request.product_id
    )
    return TitlesResponse(
        titles=[_title_hit(hit) for hit in titles[: request.top_k]],
        no_match=not titles,
        suggestion=suggest_title(titles[:_VOTERS]),
        encoder=response.encoder,
        took_ms=response.took_ms,
    )


def _title_hit(hit: SearchHit) -> TitleHit:
    return TitleHit(
        title=hit.product.title,
        product_id=hit.product.product_id,
        score=hit.score,
        confidence=hit.confidence,
    )


def distinct_titles(hits: Iterable[SearchHit]) -> list[SearchHit]:
    """Return the first hit of each title, in whatever width and case it is written."""
    first: dict[str, SearchHit] = {}
    for hit in hits:
        first.setdefault(fold(hit.product.title), hit)
    return list(first.values())


class _Vote(NamedTuple):
    """A title's product, and its share of the votes."""

    hit: SearchHit
    share: float


def suggest_title(hits: Sequence[SearchHit]) -> TitleSuggestion | None:
    """Return what the hits, best first, agree on; None where they don't agree on a kind of thing.

    A value is agreed on where most of the votes, and more than one title, have it.
    """
    votes = _votes(hits)
    categories = _agreed(
        votes, [[hit.product.category] if hit.product.category else [] for hit in hits]
    )
    attributes = _attributes(votes)
    agreed_words = _longest(_agreed(votes, [_words(hit.product.title) for hit in hits]))
    heads = [word for word in agreed_words if word not in attributes.values()]
    if not categories and not heads:
        return None
    return TitleSuggestion(
        title=" ".join([*_spoken(attributes), *(heads or categories[:1])]),
        category=categories[0] if categories else None,
        attributes=attributes,
        words=heads,
    )


def _votes(hits: Sequence[SearchHit]) -> list[_Vote]:
    weights = [math.exp((hit.score - hits[0].score) / _SCALE) for hit in hits]
    whole = math.fsum(weights)
    return [_Vote(hit, weight / whole) for hit, weight in zip(hits, weights, strict=True)]


def _attributes(votes: Sequence[_Vote]) -> dict[str, str]:
    """Return the value that is agreed on, of each attribute that has one."""
    names = dict.fromkeys(name for vote in votes for name in vote.hit.product.attributes)
    agreed = {name: _agreed(votes, [_texts(name, vote.hit) for vote in votes]) for name in names}
    return {name: values[0] for name, values in agreed.items() if values}


def _agreed(votes: Sequence[_Vote], values: Sequence[Iterable[str]]) -> list[str]:
    """Return the values, of each vote, that are agreed on, the surest first."""
    shares: dict[str, list[float]] = {}
    for vote, own_values in zip(votes, values, strict=True):
        for value in dict.fromkeys(own_values):
            shares.setdefault(value, []).append(vote.share)
    sums = {value: math.fsum(some) for value, some in shares.items() if len(some) > 1}
    sure = [value for value, share in sums.items() if share >= _MAJORITY]
    return sorted(sure, key=lambda value: (-sums[value], -len(value), value))


def _texts(name: str, hit: SearchHit) -> list[str]:
    """Return the attribute's values that a title can say."""
    value = hit.product.attributes.get(name)
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _words(title: str) -> list[str]:
    """Return the words that may name a thing; colours are attributes."""
    han = [piece.text for piece in pieces(fold(title)) if piece.script is Script.han]
    found = [word for text in han for word, _, _ in words(text)]
    return [word for word in found if len(word) > 1 and not word.endswith("色")]


def _longest(some: Sequence[str]) -> list[str]:
    """Return the words that are no part of another."""
    return [word for word in some if not any(word in other and word != other for other in some)]


def _spoken(attributes: Mapping[str, str]) -> list[str]:
    """Return the values as a title has them: a bare colour is one with 色."""
    return [
        f"{value}色" if key == _COLOUR and not value.endswith("色") else value
        for key, value in attributes.items()
    ]
