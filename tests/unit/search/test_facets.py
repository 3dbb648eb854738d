"""What filters may be asked for, what they mean on a row, and the facets of what passes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from data_models import (
    MAX_FACET_KEYS,
    MAX_FACET_VALUES,
    FacetCount,
    MomentRange,
    NumberRange,
    PriceBand,
    SearchFilters,
)
from product_search.milvus.filters import passes
from product_search.schemas.validation import invalid_request
from product_search.search.facets import FacetValues, count_facets


def refusal(filters: dict[str, Any]) -> str:
    """The message that a request with these filters is answered with."""
    with pytest.raises(ValidationError) as caught:
        SearchFilters.model_validate(filters)
    return invalid_request(caught.value.errors()).message


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (None, "条件应为字符串、数字、true 或 false"),
        ([], "1 到 100 项"),
        (["x"] * 101, "1 到 100 项"),
        ([None], "条件应为字符串、数字、true 或 false"),
        ([["x"]], "条件应为字符串、数字、true 或 false"),
        ([{"gte": 1}], "条件应为字符串、数字、true 或 false"),
        ({}, "至少给出一个"),
        ({"gte": None}, "至少给出一个"),
        ({"like": "%"}, "不支持的运算符 'like'：只能是 gte、gt、lte、lt"),
        ({"gte": 1, "\ud800": 2}, r"不支持的运算符 '\ud800'"),
        ({"gte": 2, "lte": 1}, "不能大于"),
        ({"gt": 2, "lt": 1}, "不能大于"),
        ({"gte": "1"}, "范围的两端应为数字"),
        ({"gte": True}, "范围的两端应为数字"),
        ({"gte": [1]}, "范围的两端应为数字"),
        ({"gte": float("nan")}, "NaN"),
        ({"lt": float("inf")}, "无穷大"),
        ({"lt": 2**63}, "64 位"),
        (float("nan"), "NaN"),
        ([1, float("-inf")], "无穷大"),
        (2**63, "64 位"),
        ("x" * 101, "最多 100 个字符"),
        ("\ud800", "Unicode"),
        (["红", "\udc00"], "Unicode"),
    ],
    ids=ascii,
)
def test_a_condition_that_means_nothing_is_refused_by_its_place(
    condition: object, said: str
) -> None:
    message = refusal({"attributes": {"颜色": "红", "尺码": condition}})
    assert said in message
    assert "attributes.尺码：" in message


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"attributes": {}}, "attributes：至少 1 项"),
        ({"attributes": {str(key): 1 for key in range(21)}}, "attributes：最多 20 项"),
        ({"attributes": []}, "attributes：应为 JSON 对象"),
        ({"attributes": {"\ud800": 1}}, "Unicode"),
        ({"has_image": 1}, "has_image：应为 true 或 false"),
        ({"has_image": "true"}, "has_image：应为 true 或 false"),
        ({"created_at": {}}, "created_at：gte 与 lte 至少给出一个"),
        ({"created_at": "2026-01-01T00:00:00Z"}, "created_at：应为 JSON 对象"),
        ({"created_at": {"gte": "2026-01-01T00:00:00"}}, "created_at.gte：缺少时区"),
        ({"created_at": {"gte": "2026-01-01"}}, "created_at.gte：缺少时区"),
        ({"created_at": {"lte": "昨天"}}, "created_at.lte：应为 ISO 8601 的时间"),
        ({"created_at": {"lte": 1_767_225_600}}, "created_at.lte：应为 ISO 8601 的时间"),
        ({"created_at": {"lte": "1767225600"}}, "created_at.lte：应为 ISO 8601 的时间"),
        ({"created_at": {"lte": "9999-12-31T23:59:59-12:00"}}, "created_at.lte：时间超出范围"),
        ({"created_at": {"gt": "2026-01-01T00:00:00Z"}}, "created_at.gt：未知字段"),
        (
            {"created_at": {"gte": "2026-01-01T08:00:01+08:00", "lte": "2026-01-01T00:00:00Z"}},
            "created_at：gte 不能大于 lte",
        ),
    ],
    ids=ascii,
)
def test_a_filter_that_means_nothing_is_refused_by_its_place(
    filters: dict[str, Any], said: str
) -> None:
    assert said in refusal(filters)


def test_conditions_are_values_or_ends() -> None:
    filters = SearchFilters.model_validate(
        {
            "attributes": {"颜色": "红", "容量": [25, 30.5, True], "": {"gt": 1, "lte": None}},
            "created_at": {"gte": "2026-01-01T08:00:00.000001+08:00"},
        }
    )
    assert filters.attributes == {
        "颜色": ("红",),
        "容量": (25.0, 30.5, True),
        "": NumberRange(gt=1.0),
    }
    moment = datetime(2026, 1, 1, 0, 0, 0, 1, UTC)
    assert filters.created_at == MomentRange(gte=moment)
    assert SearchFilters.model_validate(filters.model_dump(mode="json")) == filters


PRODUCT = {
    "颜色": "红",
    "容量": 25,
    "防水": True,
    "尺寸": [30, 45.5, "大", [7]],
    "备注": None,
    "产地": {"省": "浙江"},
}


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"颜色": "红"}, True),
        ({"颜色": "红 "}, False),
        ({"颜色": ["蓝", "红"]}, True),
        ({"颜色": {"gte": 0}}, False),
        ({"容量": 25.0}, True),
        ({"容量": "25"}, False),
        ({"容量": {"gte": 25, "lte": 25}}, True),
        ({"容量": {"gt": 25}}, False),
        ({"容量": {"lt": 25.1}}, True),
        ({"防水": True}, True),
        ({"防水": 1}, False),
        ({"防水": {"gte": 0}}, False),
        ({"容量": True}, False),
        ({"尺寸": 30}, True),
        ({"尺寸": "大"}, True),
        ({"尺寸": [1, 45.5]}, True),
        ({"尺寸": 7}, False),
        ({"尺寸": {"gte": 0}}, False),
        ({"备注": "None"}, False),
        ({"产地": "浙江"}, False),
        ({"没有": "红"}, False),
        ({"颜色": "红", "容量": 26}, False),
        ({"颜色": "红", "容量": 25, "尺寸": "大"}, True),
    ],
    ids=ascii,
)
def test_a_row_passes_where_all_conditions_hold(asked: dict[str, Any], wanted: bool) -> None:
    filters = SearchFilters.model_validate({"attributes": asked})
    assert passes(PRODUCT, filters) is wanted


def test_without_conditions_on_attributes_every_row_passes() -> None:
    assert passes({}, SearchFilters(has_image=True))


def test_facets_count_what_has_a_value() -> None:
    found = count_facets(
        [
            FacetValues(1, "箱包", "拾光", Decimal("49.99"), {}),
            FacetValues(2, "箱包", None, Decimal("50.00"), {}),
            FacetValues(3, "鞋靴", "拾光", Decimal("0.00"), {}),
            FacetValues(4, "伞", "甲", None, {}),
            FacetValues(5, None, "拾光", Decimal("9999999999.99"), {}),
        ]
    )
    assert found.category == [
        FacetCount(value="箱包", count=2),
        FacetCount(value="伞", count=1),
        FacetCount(value="鞋靴", count=1),
    ]
    assert found.brand == [FacetCount(value="拾光", count=3), FacetCount(value="甲", count=1)]
    assert found.price == [
        PriceBand(gte=Decimal(0), lt=Decimal(50), count=2),
        PriceBand(gte=Decimal(50), lt=Decimal(100), count=1),
        PriceBand(gte=Decimal(1_000_000), lt=None, count=1),
    ]


def test_facets_of_nothing_are_empty() -> None:
    found = count_facets([])
    assert (found.category, found.brand, found.price, found.attributes) == ([], [], [], [])


labels = st.none() | st.sampled_from(["a", "b", "c"])
prices = st.none() | st.decimals(min_value=0, max_value=Decimal("9999999999.99"), places=2)


def of(unit: int | str, **attributes: Any) -> FacetValues:
    return FacetValues(unit, None, None, None, attributes)


def attributes_of(*products: FacetValues) -> dict[str, list[tuple[Any, int]]]:
    facets = count_facets(products).attributes
    return {one.key: [(value.value, value.count) for value in one.values] for one in facets}


def test_attributes_of_two_products_or_more_are_counted_by_value() -> None:
    found = attributes_of(
        of(1, 颜色="红", 适合=["男", "女", "女"], 容量=25, 独有="甲"),
        of(2, 颜色="蓝", 适合=["女"], 容量=25.0),
        of(3, 颜色="红", 适合=None, 容量=30.5),
        of(4, 颜色="长" * 101, 适合={"年龄": 3}),
    )
    assert found == {
        "容量": [(25, 2), (30.5, 1)],
        "颜色": [("红", 2), ("蓝", 1)],
        "适合": [("女", 2), ("男", 1)],
    }


def test_true_is_no_number_and_no_word() -> None:
    found = attributes_of(*(of(place, 防水=value) for place, value in enumerate([True, 1, "1"])))
    assert [(type(value), count) for value, count in found["防水"]] == [
        (bool, 1),
        (int, 1),
        (str, 1),
    ]


def test_a_hit_of_several_variants_counts_once_for_each_value() -> None:
    products = [
        FacetValues("衬衫", "上衣", "拾光", Decimal(price), {"尺码": size, "面料": "亚麻"})
        for size, price in (("S", 40), ("M", 45), ("L", 60))
    ] + [FacetValues(9, "上衣", "拾光", Decimal(60), {"尺码": "L"})]
    found = count_facets(products)
    assert found.category == [FacetCount(value="上衣", count=2)]
    assert [(int(band.gte), band.count) for band in found.price] == [(0, 1), (50, 2)]
    assert attributes_of(*products) == {
        "尺码": [("L", 2), ("M", 1), ("S", 1)],
        "面料": [("亚麻", 1)],
    }


def test_attributes_and_their_values_are_bounded() -> None:
    names = [f"属性{place:02}" for place in range(MAX_FACET_KEYS + 5)]
    many = [
        of(place, **dict.fromkeys(names[place % 3 :], f"值{place:03}"))
        for place in range(MAX_FACET_VALUES + 9)
    ]
    found = attributes_of(*many)
    assert list(found) == names[2 : MAX_FACET_KEYS + 2]
    assert {len(values) for values in found.values()} == {MAX_FACET_VALUES}


@given(
    st.lists(
        st.builds(FacetValues, st.integers(), labels, labels, prices, st.just({})),
        max_size=30,
        unique_by=lambda one: one.unit,
    )
)
def test_each_value_is_counted_once_and_in_its_band(products: list[FacetValues]) -> None:
    found = count_facets(products)
    for place, counts in enumerate((found.category, found.brand), start=1):
        held = [product[place] for product in products if product[place] is not None]
        assert {one.value: one.count for one in counts} == {v: held.count(v) for v in held}
    amounts = [product.price for product in products if product.price is not None]
    assert sum(band.count for band in found.price) == len(amounts)
    for band in found.price:
        inside = [a for a in amounts if band.gte <= a and (band.lt is None or a < band.lt)]
        assert band.count == len(inside) > 0


def test_facets_do_not_depend_on_the_order_of_the_products() -> None:
    products = [
        FacetValues(place, name, name, Decimal(60), {"a": name, name: place})
        for place, name in enumerate("baacb")
    ]
    assert count_facets(products) == count_facets(products[::-1])
