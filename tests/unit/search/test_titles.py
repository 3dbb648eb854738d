"""What a suggestion is made of: votes of the best titles."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from data_models import IndexStatus, ProductOut, SearchHit, VectorField
from product_search.search.titles import distinct_titles, suggest_title


def hit(
    title: str, score: float = 0.5, category: str | None = None, **attributes: Any
) -> SearchHit:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    product = ProductOut(
        product_id=abs(hash((title, score))),
        sku=None,
        title=title,
        description=None,
        category=category,
        brand="拾光",
        price=None,
        attributes=attributes,
        group=None,
        image_url=None,
        image_generated=False,
        milvus_id="1",
        revision=1,
        index_status=IndexStatus.indexed,
        index_error=None,
        created_at=moment,
        updated_at=moment,
    )
    return SearchHit(
        rank=1, score=score, confidence=None, matched_field=VectorField.text_clip, product=product
    )


def test_a_word_a_category_and_an_attribute_that_most_have_are_agreed_on() -> None:
    found = suggest_title(
        [
            hit("红色双肩包", category="箱包", 颜色="红", 材质="帆布"),
            hit("红色学生双肩包", category="箱包", 颜色="红", 材质="帆布"),
            hit("蓝色雨伞", category="家居", 颜色="蓝"),
        ]
    )
    assert found is not None
    assert (found.category, found.attributes) == ("箱包", {"颜色": "红", "材质": "帆布"})
    assert (found.words, found.title) == (["双肩包"], "红色 帆布 双肩包")


@pytest.mark.parametrize(
    "hits",
    [
        [],
        [hit("红色双肩包", category="箱包")],
        [hit("双肩包", category="箱包"), hit("雨伞", category="家居")],
        [hit("红色雨伞", 颜色="红"), hit("红色苹果", 颜色="红")],
        [hit("雨伞", 0.9), hit("双肩包", 0.5), hit("双肩包 学生", 0.5)],
    ],
)
def test_where_the_best_do_not_agree_on_a_kind_nothing_is_suggested(
    hits: list[SearchHit],
) -> None:
    assert suggest_title(hits) is None


def test_without_a_common_word_the_category_is_the_title() -> None:
    found = suggest_title([hit("香蕉", category="水果"), hit("苹果", category="水果")])
    assert found is not None
    assert (found.title, found.words) == ("水果", [])


def test_a_brand_is_never_suggest_title() -> None:
    found = suggest_title([hit("拾光 雨伞"), hit("拾光 雨伞 长柄")])
    assert found is not None
    assert found.attributes == {}


def test_of_an_attribute_with_several_values_each_counts() -> None:
    found = suggest_title([hit("雨伞", 颜色=["红", "蓝"]), hit("长柄雨伞", 颜色="蓝", 骨数=8)])
    assert found is not None
    assert (found.attributes, found.title) == ({"颜色": "蓝"}, "蓝色 雨伞")


def test_of_titles_that_are_written_differently_the_first_counts() -> None:
    one, other = hit("Ｔ恤 红色", 0.6), hit("t恤　红色", 0.5)
    assert distinct_titles([one, other]) == [one]
