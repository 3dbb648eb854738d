"""The group that a product's attributes name."""

from __future__ import annotations

from typing import Any

import pytest

from product_search.catalog.variants import named_group


@pytest.mark.parametrize(
    "attributes",
    [
        {"款号": "VR-1", "尺码": "S"},
        {"SPU": " VR-1 "},
        {"spu编码": "VR-1"},
        {"Item Group ID": "VR-1"},
        {"货号": "VR-1"},
        {"货号": "VR-1-S", "款号": "VR-1"},
        {"款号": "无", "货号": "VR-1"},
    ],
    ids=str,
)
def test_an_attribute_names_the_group(attributes: dict[str, Any]) -> None:
    assert named_group(None, attributes) == "VR-1"
    assert named_group("拾光", attributes) == "拾光 VR-1"


def test_a_number_is_a_code_too() -> None:
    assert named_group(None, {"款号": 20231}) == "20231"


@pytest.mark.parametrize(
    "value",
    ["", " ", "无", "见详情", "-", "N/A", "none", "0", "000", 0, True, 1.5, None, ["A1"], {"a": 1}],
    ids=repr,
)
def test_what_names_nothing_makes_no_group(value: object) -> None:
    assert named_group("拾光", {"款号": value}) is None


def test_other_attributes_name_no_group() -> None:
    assert named_group(None, {"型号": "A1", "系列": "B2", "style": "C3", "颜色": "红"}) is None


def test_a_group_is_at_most_as_long_as_a_label() -> None:
    assert named_group(None, {"款号": "9" * 100}) == "9" * 100
    assert named_group("甲", {"款号": "9" * 100}) is None
