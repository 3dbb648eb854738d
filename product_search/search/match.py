"""Match: whether an image shows what a text says, by the image-text encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image

from data_models import Leg, MatchImage, MatchPair, MatchRequest, MatchResponse, MatchText, Verdict
from nlp_models import ImageTextEncoder
from product_search.encoders.embeddings import Matrix
from product_search.errors import (
    ImageNotFound,
    ImageTooComplex,
    ImageTooLarge,
    ImageTooManyPixels,
    InvalidImage,
    ProductNotFound,
    ProductWithoutImage,
)
from product_search.images.decoding import decode, from_base64
from product_search.search.calibration import Curve, round_confidence
from product_search.search.fusion import cosines
from product_search.search.inputs import InputReader
from product_search.search.search import SearchService
from product_search.text.analysis import plain

_IMAGES_AT_ONCE = 8  # decoded, of 4 MB each; a batch of the encoder
FEATURE = Leg.image_to_text.value  # an image against a title, as that leg compares them


def match_pairs(search: SearchService, request: MatchRequest) -> MatchResponse:
    """Return how well each of the many fits the one, in the request's order.

    Products' images and titles are those of their rows, whether they are indexed or not.

    Raises:
        InvalidImage, ImageTooLarge, ImageTooManyPixels, ImageTooComplex: of an image, whose place
            is named.
        Overloaded: an image has waited too long for its turn to be decoded.
        ProductNotFound, ProductWithoutImage, ImageNotFound: of a product, whose place is named.
        DatabaseUnavailable: the relational store is down.
        VectorStoreUnavailable: no collection, and so no encoder, is active yet.
    """
    texts = _texts(search.inputs, request)
    encoders = search.collections.active().encoders
    image_vectors = _image_vectors(search.inputs, request, encoders.image_text)
    text_vectors = encoders.image_text.encode_texts(texts)
    if request.image is not None:
        scores = cosines(image_vectors[0], list(text_vectors))
    else:
        scores = cosines(text_vectors[0], list(image_vectors))
    curve = search.calibrations.of(encoders.fingerprint).pairs
    return MatchResponse(
        pairs=[judge_pair(score, curve) for score in scores], encoder=encoders.name
    )


def judge_pair(score: float, curve: Curve | None) -> MatchPair:
    """Return the verdict on an image and a text of this cosine; none where there is no curve."""
    if curve is None:
        return MatchPair(score=score, confidence=None, verdict=None, label=None)
    confidence = curve.confidence({FEATURE: score})
    verdict = Verdict.match if confidence >= curve.line else Verdict.mismatch
    return MatchPair(
        score=score,
        confidence=round_confidence(confidence),
        verdict=verdict,
        label=verdict.label,
    )


def _image_vectors(inputs: InputReader, request: MatchRequest, encoder: ImageTextEncoder) -> Matrix:
    """Encode some images at a time, so that few are in memory; an error tells the place of one."""
    named = [(f"images.{place}", image) for place, image in enumerate(request.images or [])]
    if request.image is not None:
        named = [("image", request.image)]
    parts = []
    for start in range(0, len(named), _IMAGES_AT_ONCE):
        some = named[start : start + _IMAGES_AT_ONCE]
        parts.append(encoder.encode_images([_load_image(inputs, *one) for one in some]))
    return np.concatenate(parts)


def _texts(inputs: InputReader, request: MatchRequest) -> Sequence[str]:
    if request.text is not None:
        return [_load_text(inputs, request.text, "text")]
    many = enumerate(request.texts or [])
    return [_load_text(inputs, text, f"texts.{place}") for place, text in many]


def _load_image(inputs: InputReader, place: str, image: MatchImage) -> Image.Image:
    with _errors_at(place):
        if image.image is not None:
            return decode(image.image)
        if image.image_base64 is not None:
            return decode(from_base64(image.image_base64))
        assert image.product_id is not None, "MatchImage has checked that one is given"
        return inputs.load_image(inputs.load_product(image.product_id))


def _load_text(inputs: InputReader, text: MatchText, place: str) -> str:
    with _errors_at(place):
        if text.text is not None:
            return plain(text.text)
        assert text.product_id is not None, "MatchText has checked that one is given"
        return plain(inputs.load_product(text.product_id).title)


@contextmanager
def _errors_at(place: str) -> Iterator[None]:
    """Name the place in the errors that are the image's or the product's own."""
    try:
        yield
    except (
        InvalidImage,
        ImageTooLarge,
        ImageTooManyPixels,
        ImageTooComplex,
        ProductNotFound,
        ProductWithoutImage,
        ImageNotFound,
    ) as error:
        raise error.at(place) from error
