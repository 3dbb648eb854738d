"""The error family: stable codes, and pydantic's errors field by field."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from data_models import ProductCreate, SearchRequest
from product_search.errors import AppError, InvalidRequest
from product_search.schemas.validation import invalid_request

KINDS = list(AppError.kinds())


def refused(kind: type[ProductCreate] | type[SearchRequest], values: object) -> InvalidRequest:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(values)
    return invalid_request(caught.value.errors())


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    assert AppError.code not in codes


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_is_the_name_of_its_class(kind: type[AppError]) -> None:
    assert kind.code.replace("_", "") == kind.__name__.lower()


def test_an_error_without_fields_has_none() -> None:
    assert AppError("出错了").fields is None
    assert AppError("出错了", {}).fields is None
    assert AppError("出错了", {"title": "太长"}).fields == {"title": "太长"}


def test_a_validation_error_names_every_field_that_is_wrong() -> None:
    error = refused(ProductCreate, {"title": "", "price": -1, "colour": "red"})
    assert error.code == "invalid_request"
    assert error.fields is not None
    assert set(error.fields) == {"title", "price", "colour"}
    assert error.fields["title"] == "不能为空"
    assert error.fields["colour"] == "未知字段"
    assert all(name in error.message for name in error.fields)


def test_a_rule_about_the_whole_body_has_a_message_and_no_field() -> None:
    error = refused(SearchRequest, {"mode": "text_to_text"})
    assert error.fields is None
    assert "text_to_text" in error.message


def test_a_place_inside_a_body_is_written_with_dots() -> None:
    filters = {"category": ["好", ""], "price": {"gte": "abc"}}
    error = refused(SearchRequest, {"mode": "text_to_text", "text": "x", "filters": filters})
    assert error.fields is not None
    assert set(error.fields) == {"filters.category.1", "filters.price.gte"}


@pytest.mark.parametrize("name", ["query", "body", "path", "colour"])
def test_an_unknown_field_is_named_whatever_its_name(name: str) -> None:
    error = refused(ProductCreate, {"title": "书包", name: 1})
    assert error.fields == {name: "未知字段"}


def test_the_message_says_what_is_allowed() -> None:
    error = refused(SearchRequest, {"mode": "sound_to_text", "text": "x"})
    assert error.fields is not None
    for mode in ("text_to_text", "text_to_image", "image_to_image", "image_to_text"):
        assert mode in error.fields["mode"]
