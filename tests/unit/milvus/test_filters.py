"""How filters and scalars are written for Milvus, and what its collections are."""

from __future__ import annotations

import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from data_models import PriceRange, SearchFilters
from product_search.milvus import entities, filters, schema
from product_search.milvus.filters import filter_expression
from product_search.milvus.schema import collection_name
from tests.contract.entities import DIMS

TEXTS = st.text(max_size=50)


def expression(image_leg: bool = False, **values: object) -> str:
    return filter_expression(SearchFilters.model_validate(values), image_leg=image_leg)


def test_no_filter_is_no_expression() -> None:
    assert expression() == ""


def test_an_image_leg_leaves_out_products_without_an_image() -> None:
    assert expression(image_leg=True) == "has_image == true"


def test_conditions_are_joined_by_and() -> None:
    written = expression(
        True, category=["箱包", "鞋靴"], brand="拾光", price={"gte": 1, "lte": "2.5"}
    )
    assert written == (
        'has_image == true and category in ["箱包", "鞋靴"] and brand in ["拾光"]'
        " and price >= 100 and price <= 250"
    )


@pytest.mark.parametrize(
    ("prices", "written"),
    [
        ({"gte": "0.01"}, "price >= 1"),
        ({"gte": "9999999999.99"}, "price >= 999999999999"),
        ({"lte": "19.99"}, "price >= 0 and price <= 1999"),
        ({"gte": 0, "lte": 0}, "price >= 0 and price <= 0"),
    ],
)
def test_prices_are_whole_cents_and_leave_out_the_unpriced(
    prices: dict[str, object], written: str
) -> None:
    assert expression(price=prices) == written


@given(st.decimals(min_value=0, max_value=Decimal("9999999999.99"), places=2))
def test_cents_are_exact(amount: Decimal) -> None:
    written = filter_expression(SearchFilters(price=PriceRange(gte=amount)), image_leg=False)
    assert written == f"price >= {format(amount, 'f').replace('.', '').lstrip('0') or '0'}"


@given(TEXTS)
def test_what_milvus_holds_has_no_control_characters(text: str) -> None:
    held = entities.scalar(text)
    assert not any(unicodedata.category(char) == "Cc" for char in held)


@given(TEXTS, TEXTS)
def test_two_texts_are_never_held_alike(one: str, other: str) -> None:
    assert (entities.scalar(one) == entities.scalar(other)) == (one == other)


@pytest.mark.parametrize(
    "text", ["红色 书包", "🎒𠮷", "100% _like_", "it's", 'a"b', "{x} [y] $meta"]
)
def test_a_text_without_controls_and_backslashes_is_held_as_it_is(text: str) -> None:
    assert entities.scalar(text) == text


@given(st.text(min_size=1, max_size=100))
def test_a_text_takes_at_most_four_bytes_a_character(text: str) -> None:
    assert len(entities.scalar(text).encode("utf-8", "surrogatepass")) <= 4 * len(text)


@given(TEXTS)
def test_a_quoted_text_ends_where_it_should(text: str) -> None:
    quoted = filters.quoted(text)
    assert quoted[0] == quoted[-1] == '"'
    inner = quoted[1:-1].replace("\\\\", "").replace('\\"', "")
    assert '"' not in inner
    assert "\\" not in inner


def test_a_collection_is_named_by_schema_and_encoder() -> None:
    assert collection_name("0123456789ab") == f"product_v{schema.SCHEMA_VERSION}_0123456789ab"


@pytest.mark.parametrize("chosen", [None, "category"])
def test_a_collection_is_parted_by_what_is_chosen(chosen: str | None) -> None:
    fields = schema.collection_schema(DIMS, chosen).fields
    assert [field.name for field in fields if field.is_partition_key] == [chosen] * bool(chosen)
