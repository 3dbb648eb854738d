"""Titles for an image: the best that there are, and what the best of them agree on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
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
from product_search.text.analysis import Kind, folded, pieces, words

# The confidence from which a title says what kind of thing the image shows. Lower than a
# search's line, below which the title is not the image's own: chosen on the tuning half of
# product_search.evaluation.titles, the lowest at which four of five suggestions are right.
KIND_LINE = 0.03
_VOTERS = 5
_SCALE = 0.05  # of two titles, the one whose cosine is this much lower counts 1/e of the other
_MAJORITY = 0.6
_COLOUR = "颜色"


def suggest_titles(
    search: SearchService,
    request: TitlesRequest,
    image: bytes | None = None,
    line: float = KIND_LINE,
) -> TitlesResponse:
    """Existing titles nearest to the image, each once, and a new one made of the best.

    A product's own title is not among those for its image. `image` are the image's bytes where they
    came beside the request; titles of a confidence below the line don't count.

    Raises:
        InvalidImage, ImageTooLarge, ImageTooManyPixels: of the image.
        ProductNotFound, ProductWithoutImage, ImageNotFound: of the product.
        DatabaseUnavailable, VectorStoreUnavailable: a store is down.
    """
    query = SearchRequest.model_validate(
        {
            "mode": SearchMode.image_to_text,
            "product_id": request.product_id,
            "image_base64": request.image_base64,
            "top_k": MAX_TOP_K,
            "min_confidence": 0,
        },
        context={"upload": image is not None},
    )
    answer = search.search(query, image)
    fits = [hit for hit in answer.hits if hit.confidence is None or hit.confidence >= line]
    found = distinct(hit for hit in fits if hit.product.product_id != request.product_id)
    return TitlesResponse(
        titles=[
            TitleHit(
                title=hit.product.title,
                product_id=hit.product.product_id,
                score=hit.score,
                confidence=hit.confidence,
            )
            for hit in found[: request.top_k]
        ],
        no_match=not found,
        suggestion=suggested(found[:_VOTERS]),
        encoder=answer.encoder,
        took_ms=answer.took_ms,
    )


def distinct(hits: Iterable[SearchHit]) -> list[SearchHit]:
    """The first hit of each title, however it is written."""
    first: dict[str, SearchHit] = {}
    for hit in hits:
        first.setdefault(folded(hit.product.title), hit)
    return list(first.values())


class _Vote(NamedTuple):
    """A title's product, and its share of the votes."""

    hit: SearchHit
    share: float


def suggested(hits: Sequence[SearchHit]) -> TitleSuggestion | None:
    """What these say of the image, the best first; None where they don't agree on its kind.

    A value is agreed on where most of the votes, and more than one title, have it.
    """
    votes = _votes(hits)
    categories = _agreed(votes, lambda hit: [hit.product.category] if hit.product.category else [])
    attributes = _attributes(votes)
    found = _longest(_agreed(votes, lambda hit: _words(hit.product.title)))
    heads = [word for word in found if word not in attributes.values()]
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
    """The value that is agreed on, of each attribute that has one."""
    names = dict.fromkeys(name for vote in votes for name in vote.hit.product.attributes)
    agreed = {name: _agreed(votes, partial(_texts, name)) for name in names}
    return {name: values[0] for name, values in agreed.items() if values}


def _agreed(votes: Sequence[_Vote], values: Callable[[SearchHit], Iterable[str]]) -> list[str]:
    """The values that are agreed on, the surest first."""
    shares: dict[str, list[float]] = {}
    for vote in votes:
        for value in dict.fromkeys(values(vote.hit)):
            shares.setdefault(value, []).append(vote.share)
    sums = {value: math.fsum(of) for value, of in shares.items() if len(of) > 1}
    sure = [value for value, share in sums.items() if share >= _MAJORITY]
    return sorted(sure, key=lambda value: (-sums[value], -len(value), value))


def _texts(name: str, hit: SearchHit) -> list[str]:
    """The attribute's values that a title can say."""
    value = hit.product.attributes.get(name)
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _words(title: str) -> list[str]:
    """Words that may name a thing; colours are attributes."""
    han = [piece.text for piece in pieces(folded(title)) if piece.kind is Kind.han]
    found = [word for text in han for word, _, _ in words(text)]
    return [word for word in found if len(word) > 1 and not word.endswith("色")]


def _longest(found: Sequence[str]) -> list[str]:
    """Without the words that are parts of others."""
    return [word for word in found if not any(word in other and word != other for other in found)]


def _spoken(attributes: Mapping[str, str]) -> list[str]:
    """The values as a title has them: a bare colour is one with 色."""
    return [
        f"{value}色" if key == _COLOUR and not value.endswith("色") else value
        for key, value in attributes.items()
    ]
