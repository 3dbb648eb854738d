"""Prompts built of words, a product and a style."""

from __future__ import annotations

from typing import Any

import pytest

from data_models import GenerationStyle
from product_search.generation.prompts import (
    MAX_PROMPT,
    ProductFacts,
    build_negative_prompt,
    build_prompt,
    build_subject,
)


def bag(**attributes: Any) -> ProductFacts:
    return ProductFacts("红色双肩包", "箱包", attributes)


def test_words_alone_are_the_prompt() -> None:
    assert build_prompt(" 一把红雨伞 ", None, None) == "一把红雨伞"


def test_a_product_is_told_by_title_category_and_attributes() -> None:
    told = build_prompt(None, bag(容量="25L", 颜色=["红", "黑"], 口袋=6), None)
    assert told == "红色双肩包，箱包，容量25L，颜色红、黑，口袋6"


def test_a_category_that_the_title_says_is_not_said_again() -> None:
    assert build_prompt(None, ProductFacts("箱包收纳袋", "箱包", {}), None) == "箱包收纳袋"


def test_attributes_that_are_no_plain_values_are_left_out() -> None:
    product = bag(防水=True, 尺寸={"宽": 3}, 备注=None, 产地="")
    assert build_prompt(None, product, None) == "红色双肩包，箱包"


@pytest.mark.parametrize("style", GenerationStyle)
def test_every_style_adds_words_and_rules_something_out(style: GenerationStyle) -> None:
    assert build_prompt("雨伞", None, style).startswith("雨伞，")
    assert build_negative_prompt("人", style) == f"人，{build_negative_prompt(None, style)}"


@pytest.mark.parametrize("style", [None, *GenerationStyle])
def test_a_prompt_keeps_its_style_and_its_bounds(style: GenerationStyle | None) -> None:
    many = {f"属性{number}": "很长的值" * 5 for number in range(40)}
    end = build_prompt("雨", None, style)[1:]
    for words, product in (("包" * 512, None), ("包" * 512, bag(**many)), (None, bag(**many))):
        told = build_prompt(words, product, style)
        assert len(told) <= MAX_PROMPT
        assert told.endswith(end)
    assert "属性0" in build_prompt(None, bag(**many), style)
    assert len(build_negative_prompt("包" * 512, style) or "") <= MAX_PROMPT


def test_nothing_is_ruled_out_where_nothing_is_said() -> None:
    assert build_negative_prompt(None, None) is None


def test_fit_is_judged_by_title_and_words_without_style_or_attributes() -> None:
    assert build_subject("放在桌上", bag(容量="25L")) == "红色双肩包，放在桌上"
    assert build_subject("雨伞", None) == "雨伞"
