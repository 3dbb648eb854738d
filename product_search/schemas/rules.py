"""Rules across the fields of a request, in JSON Schema; the models check the same."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Any

Rule = dict[str, Any]

_NULL: Rule = {"type": "null"}
_IMAGES = ("image_base64", "image_url", "generation")
_THINGS = ("text", "product_id", "parts")


def given(*names: str, without: Iterable[str] = ()) -> Rule:
    """Return the rule that all of these fields have a value, and none of the others has."""
    properties = {name: {"not": _NULL} for name in names} | dict.fromkeys(without, _NULL)
    return {"required": list(names), "properties": properties}


def missing(*names: str) -> Rule:
    """Return the rule that none of these fields has a value: each is left out, or null."""
    return {"properties": dict.fromkeys(names, _NULL)}


def some_of(*names: str) -> Rule:
    """Return the rule that at least one of these fields has a value."""
    return {"anyOf": [given(name) for name in names]}


def one_of(*names: str) -> Rule:
    """Return the rule that exactly one of these fields has a value."""
    return {"oneOf": [given(name) for name in names]}


def at_most_one_of(*names: str) -> Rule:
    """Return the rule that no two of these fields have a value."""
    return {"allOf": [{"anyOf": list(map(missing, pair))} for pair in combinations(names, 2)]}


def without_default(schema: Rule) -> None:
    """Drop the default of a field that may be left out, but not null."""
    del schema["default"]


# An image is given in one way. null for image_base64 counts: in a change it removes the image.
ONE_IMAGE: Rule = {
    "allOf": [
        {"anyOf": [missing("image_url", "generation"), {"not": {"required": ["image_base64"]}}]},
        at_most_one_of("image_url", "generation"),
    ]
}

_BY_TEXT: Rule = {
    **missing("parts", "legs", "region", *_IMAGES),
    **one_of("text", "product_id"),
}
_BY_IMAGE: Rule = {**missing("parts", "legs", "text"), **one_of("product_id", *_IMAGES)}
_BY_IMAGE_ALONE: Rule = {**missing("legs", *_THINGS), **one_of(*_IMAGES)}


def _mode(schema: Rule, rule: Rule) -> Rule:
    """Return the rule as that of searches of which `mode` fits the schema."""
    return {"allOf": [{"required": ["mode"], "properties": {"mode": schema}}, rule]}


# The fields that each mode of a search takes; where it is left out, an image alone is looked for by
# images, all else by hybrid.
SEARCH: list[Any] = [
    at_most_one_of(*_IMAGES),
    {
        "anyOf": [
            _mode({"enum": ["text_to_text", "text_to_image"]}, _BY_TEXT),
            _mode({"enum": ["image_to_image", "image_to_text"]}, _BY_IMAGE),
            _mode({"const": "hybrid"}, some_of(*_THINGS, *_IMAGES)),
            {"allOf": [missing("mode"), some_of(*_THINGS)]},
            {"allOf": [missing("mode"), _BY_IMAGE_ALONE]},
        ]
    },
    {"anyOf": [missing("region"), *some_of("product_id", *_IMAGES)["anyOf"]]},
    {"anyOf": [missing("cursor"), {"not": {"required": ["offset"]}}]},
    # Parts that are all unwanted leave nothing to look for.
    {
        "anyOf": [
            *some_of("text", "product_id", *_IMAGES)["anyOf"],
            {"properties": {"parts": {"contains": {"properties": {"weight": {"minimum": 0}}}}}},
        ]
    },
]
