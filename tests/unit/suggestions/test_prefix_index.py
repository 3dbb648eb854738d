"""What is found by a prefix of a text, of its pinyin or of its initials, and in which order."""

from __future__ import annotations

import pytest

from data_models import SuggestionKind
from product_search.suggestions import phrase_counts
from product_search.suggestions.phrase_counts import PhraseCounts
from product_search.suggestions.prefix_index import PrefixIndex, Source
from product_search.text.phrases import compact

TITLES = [
    *["头戴式蓝牙耳机 黑色", "蓝牙耳机 入耳式", "蓝牙音箱 便携", "儿童甜甜圈", "毛巾架"],
    *["iPhone 15 手机壳", "Sony WH-1000XM5 降噪耳机", "女士羊毛衫 秋冬"],
]


@pytest.fixture(scope="module")
def index() -> PrefixIndex:
    """Of a few titles, with the categories 数码电器 and 耳机, and the brand 索尼."""
    counts = PhraseCounts()
    for title in TITLES:
        counts.add(title, "耳机" if "耳机" in title else "数码电器", "索尼")
    return PrefixIndex(counts.sources())


def texts(index: PrefixIndex, typed: str, limit: int = 10) -> list[str]:
    return [found.text for found in index.find(compact(typed), limit)]


@pytest.mark.parametrize(
    "typed", ["蓝牙", "蓝", "lany", "lan ya", "lanya'e", "lyej", "LY", "lanyej", "lanyae"]
)
def test_text_pinyin_and_initials_lead_to_the_phrase(index: PrefixIndex, typed: str) -> None:
    assert "蓝牙耳机" in texts(index, typed)


def test_words_are_not_cut(index: PrefixIndex) -> None:
    assert texts(index, "蓝") == ["蓝牙耳机", "蓝牙", "蓝牙音箱"]
    assert texts(index, "甜") == ["甜甜圈"]  # the dictionary has 甜甜, which no title has alone
    assert texts(index, "牙") == []


def test_model_numbers_and_latin_words_keep_their_writing(index: PrefixIndex) -> None:
    assert texts(index, "wh1") == ["WH-1000XM5"]
    assert "iPhone 15" in texts(index, "iphone15")
    assert "手机壳" in texts(index, "shoujik")


def test_categories_and_brands_come_with_their_kinds_and_numbers(index: PrefixIndex) -> None:
    found = {one.text: (one.kind, one.products) for one in index.find("", 50)}
    assert found["耳机"] == (SuggestionKind.category, 3)
    assert found["索尼"] == (SuggestionKind.brand, len(TITLES))
    assert found["蓝牙耳机"] == (SuggestionKind.title_words, 2)


def test_a_category_is_found_by_any_of_its_words(index: PrefixIndex) -> None:
    assert "数码电器" in texts(index, "电器")
    assert "数码电器" in texts(index, "dq")


def test_the_limit_keeps_the_weightiest(index: PrefixIndex) -> None:
    everything = index.find("", 50)
    assert [one.weight for one in everything] == sorted(
        (o.weight for o in everything), reverse=True
    )
    for limit in range(1, 6):
        assert index.find("", limit) == everything[:limit]


def test_texts_longer_than_a_key_are_told_apart() -> None:
    long = "羊毛" * 12
    sources = [
        Source(long + end, SuggestionKind.query, None, 1.0, [long + end], False) for end in "ab"
    ]
    index = PrefixIndex(sources)
    assert texts(index, long + "a") == [long + "a"]
    assert len(texts(index, long)) == 2


def test_what_has_just_a_text_is_told_from_what_begins_with_it(index: PrefixIndex) -> None:
    found = index.get("蓝牙")
    assert found is not None
    assert found.text == "蓝牙"
    assert found.products == 3
    assert index.get("蓝") is None
    assert index.get("lanya") is None  # that is its sound


def test_an_empty_index_has_nothing() -> None:
    assert PrefixIndex().find("蓝", 5) == []
    assert PrefixIndex().find("", 5) == []


def test_of_what_is_equally_frequent_the_thing_comes_before_what_qualifies_it() -> None:
    counts = PhraseCounts()
    counts.add("手摇咖啡机 手套", None, None)
    counts.add("手摇发电机 手套", None, None)
    assert texts(PrefixIndex(counts.sources()), "手")[0] == "手套"


def test_what_is_always_part_of_a_longer_phrase_gives_way_to_it() -> None:
    counts = PhraseCounts()
    for title in ("头戴式降噪耳机", "头戴式降噪耳机 黑色"):
        counts.add(title, None, None)
    assert texts(PrefixIndex(counts.sources()), "头戴") == ["头戴式降噪耳机", "头戴式"]


def test_where_there_are_too_many_phrases_the_rarest_are_forgotten_and_words_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(phrase_counts, "_MOST_COUNTED", 5)
    counts = PhraseCounts()
    for _ in range(3):
        counts.add("蓝牙耳机", None, None)
    for title in ("红色雨伞", "女士手表", "儿童背包", "黑色电脑", "运动水壶"):
        counts.add(title, None, None)
    kept = texts(PrefixIndex(counts.sources()), "", limit=50)
    assert {"蓝牙耳机", "蓝牙", "雨伞", "手表", "背包", "电脑", "水壶"} <= set(kept)
    assert "红色雨伞" not in kept
