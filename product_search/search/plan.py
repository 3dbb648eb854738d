"""The plan of a query: its legs with their weights, and the vectors that the legs look for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data_models import Leg, SearchMode, VectorField
from nlp_models import EncoderPair, LoadImage, SearchEmbeddings
from product_search.errors import InvalidRequest
from product_search.milvus.hits import Hits
from product_search.milvus.searches import TermSearch
from product_search.search.fusion import RANK_CONSTANT
from product_search.search.inputs import Query, QueryInputs

Vector = NDArray[np.float32]
LegVectors = Mapping[Leg, Vector]  # by dense leg, each of length 1

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
# How much of an unwanted vector is subtracted: more of it leads nowhere (docs/decisions/0014).
_UNWANTED_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class Asked:
    """A search of the collection, and what it found."""

    search: TermSearch
    hits: Hits


@dataclass(frozen=True)
class Plan:
    """A query and the legs that answer it, by weight, each of which is above 0.

    There are no legs where the query has nothing but price words.
    `asked` is a search that was made of its terms already. `listed` are the entities that are
    listed in place of all, where the legs could not be searched, which `failed` has.
    """

    query: Query
    legs: Mapping[Leg, float]
    asked: Asked | None = None
    listed: Sequence[int] | None = None
    failed: frozenset[Leg] = frozenset()

    @property
    def mode(self) -> SearchMode:
        """The mode of the request."""
        return self.query.request.chosen_mode

    @property
    def inputs(self) -> QueryInputs:
        """The inputs of the query."""
        return self.query.inputs

    @property
    def lists_all(self) -> bool:
        """Whether there is nothing to look for: all that passes the filters is listed."""
        return not self.legs

    @property
    def asks_nothing(self) -> bool:
        """Whether nothing can be found: texts have only words that ask for nothing, or contradict.

        This is of hybrid searches; one that lists asks for all.
        """
        if self.query.contradicts:
            return True
        if self.lists_all or self.mode is not SearchMode.hybrid:
            return False
        if not all(leg.takes_text for leg in self.legs):
            return False
        return not any(text.terms for text in self.inputs.wanted_texts)

    @property
    def mixes_images(self) -> bool:
        """Whether images and texts are looked for."""
        return len({leg.takes_text for leg in self.legs}) > 1

    @property
    def highest_score(self) -> float:
        """The fused score of what every leg has first."""
        return sum(self.legs.values()) / (RANK_CONSTANT + 1)

    @property
    def is_weighted(self) -> bool:
        """Whether the client weighs the legs in its own way, and so wants an order of its own."""
        asked = self.query.request.legs or {}
        return any(weight not in (0, DEFAULT_WEIGHTS[leg]) for leg, weight in asked.items())

    def without(self, failed: Collection[Leg]) -> Plan:
        """Return the plan without the legs that have failed."""
        if not failed:
            return self
        legs = {leg: weight for leg, weight in self.legs.items() if leg not in failed}
        return replace(self, legs=legs, failed=frozenset(failed))


def plan_legs(query: Query) -> Plan:
    """Return the legs of the request's mode; none where the query is price words alone.

    Raises:
        InvalidRequest: a leg of the request has nothing to look for, or no leg is left.
    """
    request, inputs = query.request, query.inputs
    if request.chosen_mode is not SearchMode.hybrid:
        return Plan(query, {Leg(request.chosen_mode): 1.0})
    weights = request.legs or {}
    useless = [
        leg
        for leg, weight in weights.items()
        if weight and not inputs.suit(leg) and not (leg.takes_text and query.says_prices)
    ]
    if useless:
        needs = "文字" if useless[0].takes_text else "图片"
        raise _wrong_legs(f"{useless[0]} 需要{needs}")
    suited = {leg: weights.get(leg, DEFAULT_WEIGHTS[leg]) for leg in Leg if inputs.suit(leg)}
    legs = {leg: weight for leg, weight in suited.items() if weight > 0}
    if suited and not legs:
        raise _wrong_legs("各路都关闭了")
    return Plan(query, legs)


def _wrong_legs(reason: str) -> InvalidRequest:
    return InvalidRequest(f"请求有误：legs：{reason}", {"legs": reason})


def is_embedded(encoders: EncoderPair, plan: Plan) -> bool:
    """Return whether all that the plan's dense legs look for was encoded before."""
    return encoders.knows_search(*_encoded([plan]))


def embed(encoders: EncoderPair, plans: Sequence[Plan]) -> list[LegVectors]:
    """Return the vectors of each plan's dense legs; every input is encoded once, all together."""
    embeddings = encoders.embed_search(*_encoded(plans))
    return [
        {leg: _join(embeddings, leg, plan.inputs) for leg in plan.legs if leg is not Leg.bm25}
        for plan in plans
    ]


def _encoded(plans: Sequence[Plan]) -> tuple[list[str], list[str], dict[str, LoadImage]]:
    """Return what the dense legs need encoded: queries, texts, and images by their keys."""
    images = {image.value.key: image.value.load for plan in plans for image in plan.inputs.images}
    return _texts(plans, Leg.text_to_text), _texts(plans, Leg.text_to_image), images


def _texts(plans: Sequence[Plan], leg: Leg) -> list[str]:
    """Return the texts, each once, of the plans that have the leg."""
    texts = (text.value.plain for plan in plans if leg in plan.legs for text in plan.inputs.texts)
    return list(dict.fromkeys(texts))


def _join(embeddings: SearchEmbeddings, leg: Leg, inputs: QueryInputs) -> Vector:
    """Return the wanted vectors less the unwanted ones, by their weights, of length 1."""
    images = [(embeddings.images[image.value.key], image.weight) for image in inputs.images]
    if leg is Leg.text_to_text:
        weighted = [(embeddings.queries[text.value.plain], text.weight) for text in inputs.texts]
    elif leg.takes_text:
        weighted = [(embeddings.texts[text.value.plain], text.weight) for text in inputs.texts]
        weighted += [(vector, weight) for vector, weight in images if weight < 0]
    else:
        weighted = images
    shares = [weight if weight > 0 else weight * _UNWANTED_SHARE for _, weight in weighted]
    joined = np.sum(
        [vector * np.float32(share) for (vector, _), share in zip(weighted, shares, strict=True)],
        axis=0,
    )
    return np.asarray(joined / max(float(np.linalg.norm(joined)), 1e-6), np.float32)
