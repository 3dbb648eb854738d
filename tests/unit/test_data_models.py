"""What the API takes: exact prices, blank texts, rules across fields."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from data_models import (
    INT64_MAX,
    MAX_TITLE,
    IndexStatus,
    ListSort,
    PriceRange,
    ProductCreate,
    ProductListQuery,
    ProductPatch,
    SearchFilters,
    SearchMode,
    SearchRequest,
    is_blank,
)

AMOUNTS = st.decimals(min_value=0, max_value=Decimal("9999999999.99"), places=2)


def product(**values: Any) -> ProductCreate:
    return ProductCreate.model_validate({"title": "书包"} | values)


def assert_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        product(**{field: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {field}


@given(AMOUNTS)
def test_a_decimal_string_is_kept_exactly(amount: Decimal) -> None:
    assert product(price=str(amount)).price == amount


@given(AMOUNTS)
def test_a_json_number_means_the_amount_that_was_written(amount: Decimal) -> None:
    assert product(price=float(amount)).price == amount


@given(AMOUNTS)
def test_an_amount_is_shown_as_a_string_with_two_decimals(amount: Decimal) -> None:
    shown = product(price=amount).model_dump(mode="json")["price"]
    assert shown == f"{amount:.2f}"


@pytest.mark.parametrize(
    ("given_as", "amount"),
    [
        (0, "0.00"),
        (0.1, "0.10"),
        (12.0, "12.00"),
        (1999, "1999.00"),
        ("0", "0.00"),
        ("19.9", "19.90"),
        ("19.99", "19.99"),
        (9999999999.99, "9999999999.99"),
        ("9999999999.99", "9999999999.99"),
        (Decimal("7.50"), "7.50"),
        (Decimal("1E+2"), "100.00"),
    ],
)
def test_these_are_prices(given_as: object, amount: str) -> None:
    assert str(product(price=given_as).price) == amount


@pytest.mark.parametrize(
    "value",
    [
        -1,
        -0.01,
        "-1",
        "0.001",
        0.001,
        19.999,
        "19.990",
        "1e3",
        "1E3",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "",
        ".5",
        "5.",
        "1,000",
        "1_000",
        "0x10",
        "１２",
        "٣",
        "NaN",
        "Infinity",
        "-Infinity",
        "abc",
        True,
        False,
        [],
        {},
        "10000000000",
        10**10,
        1e300,
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        Decimal("Infinity"),
        10**5000,
    ],
    ids=lambda value: "huge" if value == 10**5000 else ascii(value),
)
def test_these_are_no_prices(value: object) -> None:
    assert_refused("price", value)


@pytest.mark.parametrize(
    "text", ["", " ", "\t\n", "　", "\u200b", "\x00", "\x07\x1b", "\ufeff", "\u2028", "\u202e \x01"]
)
def test_a_text_of_invisible_characters_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", " a ", "。", "🎒", "𠮷", "\u0301", "\x00a"])
def test_a_text_with_anything_to_see_is_not_blank(text: str) -> None:
    assert not is_blank(text)


@pytest.mark.parametrize("field", ["title", "sku", "category", "brand"])
@pytest.mark.parametrize("value", ["", "   ", "\n", "\x00\x01", "\u200b", 5, [], "\ud800"])
def test_a_name_is_a_text_with_something_to_see(field: str, value: object) -> None:
    assert_refused(field, value)


@pytest.mark.parametrize(
    ("field", "limit"),
    [("title", 500), ("sku", 100), ("category", 100), ("brand", 100), ("description", 5000)],
)
def test_a_text_has_a_limit_in_characters_whatever_their_bytes(field: str, limit: int) -> None:
    assert getattr(product(**{field: "𠮷" * limit}), field) == "𠮷" * limit
    assert_refused(field, "a" * (limit + 1))


@given(st.text(min_size=1, max_size=MAX_TITLE).filter(lambda text: not is_blank(text)))
def test_a_title_is_kept_as_given(title: str) -> None:
    assert product(title=title).title == title


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"k": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "{}",
        1,
        {"a": float("nan")},
        {"a": [1, {"b": float("inf")}]},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": 2**63},
        {"a": -(2**64)},
        {"a": 10**400},
        {"a": "字" * 16_000},
        nested(11),
        nested(300),
        {"a": object()},
    ],
    ids=lambda value: "huge" if value == {"a": 10**400} else ascii(value)[:20],
)
def test_attributes_that_a_store_can_not_keep_are_refused(value: object) -> None:
    assert_refused("attributes", value)


@pytest.mark.parametrize(
    "value",
    [{}, {"颜色": "红", "尺码": [1, 2.5, None, True], "嵌套": {"a": {"b": "🎒"}}}, nested(8)],
)
def test_attributes_are_any_json_object(value: dict[str, Any]) -> None:
    assert product(attributes=value).attributes == value


def test_a_patch_knows_what_was_given() -> None:
    patch = ProductPatch.model_validate({"brand": None, "price": "1"})
    assert patch.model_fields_set == {"brand", "price"}


def test_a_patch_does_not_remove_the_title() -> None:
    with pytest.raises(ValidationError):
        ProductPatch.model_validate({"title": None})


def request(**values: Any) -> SearchRequest:
    return SearchRequest.model_validate(values)


TEXT_MODES = [SearchMode.text_to_text, SearchMode.text_to_image]
IMAGE_MODES = [SearchMode.image_to_image, SearchMode.image_to_text]


@pytest.mark.parametrize("mode", TEXT_MODES)
def test_a_text_mode_takes_a_text_or_a_product(mode: SearchMode) -> None:
    assert mode.takes_text
    assert request(mode=mode, text="书包").text == "书包"
    assert request(mode=mode, product_id=1).product_id == 1


@pytest.mark.parametrize("mode", IMAGE_MODES)
def test_an_image_mode_takes_an_image_or_a_product(mode: SearchMode) -> None:
    assert not mode.takes_text
    assert request(mode=mode, image_base64="AA==").image_base64 == "AA=="
    assert request(mode=mode, product_id=1).product_id == 1
    assert request(mode=mode, image=b"file").image_base64 is None


@pytest.mark.parametrize(
    "values",
    [{}, {"text": "x", "image_base64": "AA=="}, {"text": "x", "image_base64": "", "product_id": 1}],
)
@pytest.mark.parametrize("mode", TEXT_MODES + IMAGE_MODES)
def test_a_mode_has_exactly_one_input(mode: SearchMode, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        request(mode=mode, **values)


@pytest.mark.parametrize("mode", TEXT_MODES)
@pytest.mark.parametrize("values", [{"image_base64": "AA=="}, {"text": "x", "product_id": 1}])
def test_a_text_mode_takes_nothing_else(mode: SearchMode, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        request(mode=mode, **values)


@pytest.mark.parametrize("mode", IMAGE_MODES)
@pytest.mark.parametrize("values", [{"text": "x"}, {"image_base64": "AA==", "product_id": 1}])
def test_an_image_mode_takes_nothing_else(mode: SearchMode, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        request(mode=mode, **values)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top_k", 0),
        ("top_k", 101),
        ("top_k", -1),
        ("top_k", 1.5),
        ("offset", -1),
        ("offset", 10_001),
        ("offset", INT64_MAX + 1),
        ("product_id", 0),
        ("product_id", -5),
        ("product_id", INT64_MAX + 1),
        ("product_id", "one"),
        ("mode", "fuzzy"),
        ("legs", {"bm25": 1}),
        ("parts", [{"text": "x"}]),
        ("region", [0, 0, 1, 1]),
        ("min_confidence", 1.1),
        ("sort", "best"),
        ("cursor", ""),
        ("text", ""),
        ("text", " \n"),
        ("text", "\x00\x01\x1f"),
        ("text", "x" * 513),
        ("filters", []),
        ("filters", {"colour": "red"}),
        ("filters", {"category": []}),
        ("filters", {"category": ["a"] * 101}),
        ("filters", {"brand": ""}),
        ("filters", {"brand": 1}),
        ("filters", {"price": {}}),
        ("filters", {"price": {"gte": None}}),
        ("filters", {"price": {"gte": 2, "lte": 1}}),
        ("filters", {"price": {"gt": 2}}),
        ("filters", {"price": 5}),
    ],
)
def test_a_search_is_bounded(field: str, value: object) -> None:
    base = {"mode": "text_to_text"} | ({} if field == "product_id" else {"text": "x"})
    with pytest.raises(ValidationError):
        request(**(base | {field: value}))


def test_one_label_is_a_list_of_one() -> None:
    filters = SearchFilters.model_validate({"category": "箱包", "brand": ["拾光", "青坡园"]})
    assert (filters.category, filters.brand) == (["箱包"], ["拾光", "青坡园"])


def test_a_list_query_says_its_filters() -> None:
    query = ProductListQuery.model_validate({"brand": "拾光", "min_price": "1", "max_price": "2"})
    low, high = Decimal("1.00"), Decimal("2.00")
    assert query.filters() == SearchFilters(brand=["拾光"], price=PriceRange(gte=low, lte=high))
    assert ProductListQuery().filters() == SearchFilters()


def test_a_walk_begins_at_any_id_from_zero() -> None:
    for value in ("0", "5", str(INT64_MAX)):
        query = ProductListQuery.model_validate({"after_id": value})
        assert (query.after_id, query.order) == (int(value), ListSort.oldest)
    assert ProductListQuery(sort=ListSort.price_asc).order is ListSort.price_asc


@pytest.mark.parametrize(
    "values",
    [
        {"page": 0},
        {"page": 1_000_001},
        {"page_size": 0},
        {"page_size": 101},
        {"sort": "title"},
        {"after_id": -1},
        {"after_id": 0, "page": 2},
        {"after_id": 0, "sort": "newest"},
        {"min_price": "2", "max_price": "1"},
        {"q": ""},
        {"index_status": "done"},
        {"colour": "red"},
    ],
)
def test_a_list_query_is_bounded(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ProductListQuery.model_validate(values)


def test_the_index_states_are_these() -> None:
    assert [status.value for status in IndexStatus] == ["pending", "indexed", "failed"]
