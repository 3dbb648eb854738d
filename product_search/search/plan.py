"""From a request to the legs that answer it, and the vectors that these need; no store is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_models import Leg, SearchMode, SearchRequest, VectorField
from nlp_models import EncoderPair
from product_search.errors import InvalidRequest
from product_search.text.query import QueryText

Vector = NDArray[np.float32]

COVERAGE = "coverage"
PHRASE = "phrase"
PHRASE_COVERAGE = "phrase_coverage"  # coverage once more, of phrases, of which it says less
FIELDS: dict[Leg, VectorField] = {
    Leg.bm25: VectorField.text_bm25,
    Leg.text_to_text: VectorField.text_bge,
    Leg.text_to_image: VectorField.image_clip,
    Leg.image_to_image: VectorField.image_clip,
    Leg.image_to_text: VectorField.text_clip,
}
# Found on the tuning halves (docs/decisions/0014).
DEFAULT_WEIGHTS: dict[Leg, float] = {
    Leg.bm25: 1.5,
    Leg.text_to_text: 1.0,
    Leg.text_to_image: 1.0,
    Leg.image_to_image: 2.5,
    Leg.image_to_text: 0.0,
}


T = TypeVar("T")


@dataclass(frozen=True)
class Weighted(Generic[T]):
    """Something that is looked for, or is not to be found where the weight is negative."""

    thing: T
    weight: float


@dataclass(frozen=True)
class QueryInputs:
    """What a query is made of, once images are decoded and products looked up."""

    texts: Sequence[Weighted[QueryText]] = ()
    images: Sequence[Weighted[Image.Image]] = ()
    unwanted: frozenset[int] = frozenset()  # milvus_ids of products that are examples of what not

    @property
    def wanted_texts(self) -> list[QueryText]:
        """The texts that products are to have."""
        return [one.thing for one in self.texts if one.weight > 0]

    @property
    def unwanted_texts(self) -> list[QueryText]:
        """The texts that products are not to have."""
        return [one.thing for one in self.texts if one.weight < 0]

    def suit(self, leg: Leg) -> bool:
        """Whether there is something that the leg can look for."""
        things: Iterable[Weighted[QueryText] | Weighted[Image.Image]] = (
            self.texts if leg.takes_text else self.images
        )
        return any(one.weight > 0 for one in things)


# How much of an unwanted vector is taken away: more of it leads nowhere (docs/decisions/0014).
_LESS = 0.3


@dataclass(frozen=True)
class Plan:
    """The legs of a query with their weights, of which at least one counts."""

    mode: SearchMode
    inputs: QueryInputs
    legs: Mapping[Leg, float]

    @property
    def asks_nothing(self) -> bool:
        """Whether a hybrid search has texts alone, and these only words that ask for nothing."""
        texts = self.inputs.wanted_texts
        has_none = not any(leg for leg in self.legs if not leg.takes_text)
        is_hybrid = self.mode is SearchMode.hybrid
        return is_hybrid and has_none and not any(text.terms for text in texts)

    @property
    def feature_names(self) -> frozenset[str]:
        """What confidence is computed from: each leg's score; of BM25's, which has no bounds,
        the coverage of the query; of texts whether they are phrases, which are less near to what
        they mean than names are.
        """
        names = {COVERAGE if leg is Leg.bm25 else leg.value for leg in self.legs}
        if any(leg.takes_text for leg in self.legs):
            names |= {PHRASE}
        if Leg.bm25 in self.legs:
            names |= {PHRASE_COVERAGE}
        return frozenset(names)


class LegVectors(Protocol):
    """What the legs of a query look for."""

    def of(self, leg: Leg, inputs: QueryInputs) -> Vector:
        """What the leg looks for, of length 1."""
        ...


@dataclass
class Vectors:
    """Embeddings of queries' texts and images; an image is known by its identity."""

    queries: dict[str, Vector] = field(default_factory=dict)  # of the text encoder
    texts: dict[str, Vector] = field(default_factory=dict)  # of the image-text encoder
    images: dict[int, Vector] = field(default_factory=dict)

    def of(self, leg: Leg, inputs: QueryInputs) -> Vector:
        """What the leg looks for: what is wanted less what is not, of length 1."""
        images = [(self.images[id(one.thing)], one.weight) for one in inputs.images]
        if leg is Leg.text_to_text:
            found = [(self.queries[one.thing.plain], one.weight) for one in inputs.texts]
        elif leg.takes_text:
            found = [(self.texts[one.thing.plain], one.weight) for one in inputs.texts]
            found += [(vector, weight) for vector, weight in images if weight < 0]
        else:
            found = images
        shares = [weight if weight > 0 else weight * _LESS for _, weight in found]
        joined = np.sum(
            [vector * np.float32(share) for (vector, _), share in zip(found, shares, strict=True)],
            axis=0,
        )
        return np.asarray(joined / max(float(np.linalg.norm(joined)), 1e-6), np.float32)


def plan(request: SearchRequest, inputs: QueryInputs) -> Plan:
    """The legs of the request's mode.

    Raises InvalidRequest where no leg is left.
    """
    mode = request.chosen_mode
    if mode is not SearchMode.hybrid:
        return Plan(mode, inputs, {Leg(mode): 1.0})
    asked = request.legs or {}
    useless = [leg for leg, weight in asked.items() if weight and not inputs.suit(leg)]
    if useless:
        needs = "文字" if useless[0].takes_text else "图片"
        raise _wrong_legs(f"{useless[0]} 需要{needs}")
    chosen = {leg: asked.get(leg, DEFAULT_WEIGHTS[leg]) for leg in Leg if inputs.suit(leg)}
    kept = {leg: weight for leg, weight in chosen.items() if weight > 0}
    if not kept:
        raise _wrong_legs("各路都关闭了")
    return Plan(mode, inputs, kept)


def _wrong_legs(reason: str) -> InvalidRequest:
    return InvalidRequest(f"请求有误：legs：{reason}", {"legs": reason})


def embed(encoders: EncoderPair, plans: Sequence[Plan]) -> Vectors:
    """What all these plans need, each thing once, encoded together."""
    queries = _texts(plans, lambda leg: leg is Leg.text_to_text)
    texts = _texts(plans, lambda leg: leg is Leg.text_to_image)
    images = {id(one.thing): one.thing for each in plans for one in each.inputs.images}
    of_queries, of_texts = encoders.encode_search(queries, texts)
    of_images = encoders.image_text.encode_images(list(images.values()))
    return Vectors(
        queries=dict(zip(queries, of_queries, strict=True)),
        texts=dict(zip(texts, of_texts, strict=True)),
        images=dict(zip(images, of_images, strict=True)),
    )


def _texts(plans: Sequence[Plan], is_meant: Callable[[Leg], bool]) -> list[str]:
    found = (
        one.thing.plain
        for each in plans
        if any(is_meant(leg) for leg in each.legs)
        for one in each.inputs.texts
    )
    return list(dict.fromkeys(found))
