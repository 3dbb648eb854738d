"""Whether an image shows what a title says, judged by the image-text encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from PIL import Image

from data_models import Leg, MatchImage, MatchPair, MatchRequest, MatchResponse, MatchText, Verdict
from product_search.errors import (
    ImageNotFound,
    ImageTooLarge,
    ImageTooManyPixels,
    InvalidImage,
    ProductNotFound,
    ProductWithoutImage,
)
from product_search.images.decoding import decode, from_base64
from product_search.search.calibration import Curve
from product_search.search.execution import rounded
from product_search.search.fusion import cosines
from product_search.search.inputs import InputReader
from product_search.search.search import SearchService
from product_search.text.analysis import plain

Given = TypeVar("Given")
T = TypeVar("T")
FEATURE = Leg.image_to_text.value  # an image against a title, as that leg compares them


def match_pairs(search: SearchService, request: MatchRequest) -> MatchResponse:
    """Each of the many with the one, in the request's order.

    Products' images and titles are those of their rows, whether they are indexed or not.

    Raises:
        InvalidImage, ImageTooLarge, ImageTooManyPixels: of an image, whose place is named.
        ProductNotFound, ProductWithoutImage, ImageNotFound: of a product, whose place is named.
        DatabaseUnavailable: the relational store is down.
        VectorStoreUnavailable: no collection, and so no encoder, is active yet.
    """
    images, texts = _images(search.inputs, request), _texts(search.inputs, request)
    encoders = search.collections.active().encoders
    shown = encoders.image_text.encode_images(images)
    said = encoders.image_text.encode_texts(texts)
    one, many = (shown, said) if request.image is not None else (said, shown)
    curve = search.calibrated(encoders.fingerprint).pairs
    return MatchResponse(
        pairs=[judged(score, curve) for score in cosines(one[0], list(many))],
        encoder=encoders.name,
    )


def judged(score: float, curve: Curve | None) -> MatchPair:
    """An image and a text of this cosine; without a verdict where there is no curve."""
    if curve is None:
        return MatchPair(score=score, confidence=None, verdict=None, label=None)
    confidence = curve.confidence({FEATURE: score})
    verdict = Verdict.match if confidence >= curve.line else Verdict.mismatch
    return MatchPair(
        score=score, confidence=rounded(confidence), verdict=verdict, label=verdict.label
    )


def _images(inputs: InputReader, request: MatchRequest) -> list[Image.Image]:
    def read(image: MatchImage) -> Image.Image:
        if image.image_base64 is not None:
            return decode(from_base64(image.image_base64))
        assert image.product_id is not None, "MatchImage has checked that one is given"
        return inputs.picture(inputs.product(image.product_id))

    if request.image is not None:
        return [_placed("image", read, request.image)]
    many = request.images or []
    return [_placed(f"images.{place}", read, one) for place, one in enumerate(many)]


def _texts(inputs: InputReader, request: MatchRequest) -> list[str]:
    def read(text: MatchText) -> str:
        if text.text is not None:
            return plain(text.text)
        assert text.product_id is not None, "MatchText has checked that one is given"
        return plain(inputs.product(text.product_id).title)

    if request.text is not None:
        return [_placed("text", read, request.text)]
    many = request.texts or []
    return [_placed(f"texts.{place}", read, one) for place, one in enumerate(many)]


def _placed(place: str, read: Callable[[Given], T], given: Given) -> T:
    """What is read; an error that is its own names its place."""
    try:
        return read(given)
    except (
        InvalidImage,
        ImageTooLarge,
        ImageTooManyPixels,
        ProductNotFound,
        ProductWithoutImage,
        ImageNotFound,
    ) as error:
        raise error.at(place) from error
