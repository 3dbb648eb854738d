"""The schemas of requests in openapi.json let pass what the models let pass, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import combinations, product
from typing import Any

import pytest
from jsonschema_rs import validator_for
from pydantic import BaseModel

import data_models
from main import create_app
from product_search.api.bodies import validated
from product_search.errors import InvalidRequest
from product_search.schemas.fields import VISIBLE, is_blank

SCHEMAS: dict[str, Any] = create_app().openapi()["components"]
PICTURE, GENERATED = "aGVsbG8=", {"generation_id": 1}
URL = "http://shop.test/a.jpg"
SHARED: dict[str, list[Any]] = {
    "text": ["书包", "", " ", "\u200b", "x" * 513, 5, None],
    "image_base64": [PICTURE, 5, None],
    "image_url": [URL, "", "x" * 4097, 5, None],
    "generation": [GENERATED, {"generation_id": 0}, {"generation_id": "1"}, {}, None],
    "product_id": [1, 1.0, 0, "1", 1.5, True, 2**63, None],
}
REQUESTS: dict[str, dict[str, list[Any]]] = {
    "SearchRequest": SHARED
    | {
        "mode": [*data_models.SearchMode, "", None],
        "parts": [
            [{"text": "书包"}],
            [{"text": "雨伞", "weight": -1}],
            [{"text": "书包", "weight": 0}],
            [{"text": "书包", "product_id": 1}],
            [{"image_url": URL}],
            [{"image_url": URL}, {"image_url": "http://shop.test/b.jpg", "weight": -1}],
            [{"weight": 1}],
            [],
            None,
        ],
        "region": [[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1], [-1, 0, 1, 1], None],
        "legs": [{}, {"bm25": 0, "text_to_text": 10}, {"bm25": 11}, {"bm25": "1"}, {"x": 1}, None],
        "cursor": ["x", "", None],
        "offset": [0, 10_000, 10_001, "0", None],
        "top_k": [1, 100, 101, 0, "5", 5.0, 5.5],
        "min_confidence": [0, 1, 1.1, "0.5", True, None],
        "facets": [True, False, 0, "true", None],
        "understand": [True, {"price": False}, {"price": 0}, {"x": True}, "true"],
        "sort": ["newest", "oldest"],
        "filters": [
            {},
            {"category": []},
            {"category": ["箱包"] * 101},
            {"category": " "},
            {"price": {}},
            {"price": {"gte": None, "lte": None}},
            {"price": {"gte": 1, "lte": None}},
            {"price": {"gte": 10**10}},
            {"price": {"gte": -0.0}},
            {"price": {"gte": "1e3"}},
            {"has_image": "true"},
            {"created_at": {"gte": "2026-01-01T00:00:00Z"}},
            {"created_at": {}},
            {"attributes": {}},
            {"attributes": {"a": {"gte": 1, "lt": None}}},
            {"attributes": {"a": {"gte": None}}},
            {"attributes": {"a": {"x": 1}}},
            {"attributes": {"a": ["x", 1, True]}},
            {"attributes": {"a": []}},
            {"attributes": {"a": None}},
            None,
        ],
        "other": [None],
    },
    "ProductCreate": {
        "title": ["书包", "", " ", "x" * 501, 5, None],
        "image_base64": [PICTURE, None],
        "image_url": [URL, "", None],
        "generation": [GENERATED, None],
        "price": [0, 9.9, "9.90", 10**10, -1, "1,5", True, None],
        "sku": ["A", "　", "x" * 101, None],
        "attributes": [{}, {"a": [1, None]}, [], None],
        "image": ["x"],
    },
    "ProductPatch": {
        "title": ["书包", "\x00", None],
        "image_base64": [PICTURE, None],
        "image_url": [URL, None],
        "generation": [GENERATED, None],
        "attributes": [{}, None],
    },
    "RerankRequest": {
        "product_ids": [[1], [1, 2], [1, 1], [], ["1"], None],
        "text": SHARED["text"],
        "image_base64": SHARED["image_base64"],
        "image_url": SHARED["image_url"],
    },
    "MatchRequest": {
        "image": [
            {"product_id": 1},
            {"image_base64": PICTURE},
            {"image_url": URL},
            {"image_url": URL, "image_base64": PICTURE},
            {},
            {"text": "书包"},
            {"image": "x"},
            None,
        ],
        "texts": [[{"text": "书包"}], [{"product_id": 1}], [{}], [], None],
        "text": [{"text": "书包"}, {"text": "书包", "product_id": 1}, None],
        "images": [[{"product_id": 1}], [{"product_id": 0}], None],
    },
    "TitlesRequest": {
        "image_base64": SHARED["image_base64"],
        "image_url": SHARED["image_url"],
        "product_id": SHARED["product_id"],
        "top_k": [1, 21],
    },
    "GenerationRequest": {
        "prompt": SHARED["text"],
        "product_id": SHARED["product_id"],
        "width": [256, 257, 264, 1024, 1032, "512"],
        "guidance": [0, 20, 20.5, "1", None],
        "seed": [0, 2**32 - 1, 2**32, None],
        "n": [1, 4, 5],
        "style": ["main", "x", None],
    },
}


# What is changed, in one field or two.
BASES: dict[str, list[dict[str, Any]]] = {
    "SearchRequest": [
        {},
        {"text": "书包"},
        {"image_base64": PICTURE},
        {"mode": "text_to_image", "text": "书包"},
        {"mode": "image_to_text", "generation": GENERATED},
        {"parts": [{"text": "雨伞", "weight": -1}]},
    ],
    "ProductCreate": [{}, {"title": "书包"}],
    "ProductPatch": [{}],
    "RerankRequest": [{}, {"product_ids": [1]}],
    "MatchRequest": [{}, {"image": {"product_id": 1}}, {"texts": [{"text": "书包"}]}],
    "TitlesRequest": [{}],
    "GenerationRequest": [{}, {"prompt": "书包"}],
}


def is_valid(name: str) -> Callable[[Any], bool]:
    """The check of the schema of this name."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": SCHEMAS}
    return validator_for(schema).is_valid


def is_taken(name: str, values: dict[str, Any]) -> bool:
    kind: type[BaseModel] = getattr(data_models, name)
    try:
        validated(kind, values)
    except InvalidRequest:
        return False
    return True


def changed(base: dict[str, Any], values: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """The request with every value of every field, and of every two fields together."""
    for one, other in combinations(values, 2):
        for first, second in product(values[one], values[other]):
            yield base | {one: first, other: second}


@pytest.mark.parametrize(("name", "base"), [(n, base) for n in REQUESTS for base in BASES[n]])
def test_a_schema_and_its_model_agree(name: str, base: dict[str, Any]) -> None:
    is_valid_by_schema = is_valid(name)
    outcomes = set()
    for values in changed(base, REQUESTS[name]):
        is_fine = is_taken(name, values)
        assert is_valid_by_schema(values) == is_fine, values
        outcomes.add(is_fine)
    assert outcomes == {True, False}


@pytest.mark.parametrize("code", [0, 9, 32, 0x200B, 0x3000, 0xFEFF, 65, 0x4E2D, 0x1F392])
def test_what_shows_is_a_pattern_too(code: int) -> None:
    assert is_valid("MatchText")({"text": chr(code)}) == (not is_blank(chr(code)))


def test_the_pattern_tells_each_character_as_the_model_does() -> None:
    plane = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    assert [one for one in plane if bool(re.search(VISIBLE, one)) == is_blank(one)] == []
