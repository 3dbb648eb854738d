"""Words and phrases of titles, and the keys that they are typed by."""

from __future__ import annotations

import pytest

from product_search.text.phrases import Sounds, compact, phrases, pinyin, words_of


def found(title: str) -> list[str]:
    return [phrase.text for phrase in phrases(title)]


def test_phrases_are_whole_words_that_follow_each_other() -> None:
    assert found("头戴式蓝牙耳机") == [
        *("头戴式", "头戴式蓝牙", "头戴式蓝牙耳机"),
        *("蓝牙", "蓝牙耳机"),
        "耳机",
    ]


@pytest.mark.parametrize("title", ["蓝牙 耳机", "蓝牙，耳机", "蓝牙/耳机", "蓝牙（耳机）"])
def test_no_phrase_goes_across_a_space_or_a_sign(title: str) -> None:
    assert found(title) == ["蓝牙", "耳机"]


def test_latin_words_are_as_the_title_writes_them_and_go_across_spaces() -> None:
    assert "iPhone 15 Pro" in found("Apple iPhone 15 Pro 手机壳")
    assert found("WH-1000XM5 L'Oréal C++") == [
        *("WH-1000XM5", "WH-1000XM5 L'Oréal", "WH-1000XM5 L'Oréal C++"),
        *("L'Oréal", "L'Oréal C++"),
        "C++",
    ]


def test_numbers_and_measures_are_left_out_with_their_units() -> None:
    assert found("鸡蛋 40枚 500g 3盒装 100% 256GB 一箱 两件") == ["鸡蛋"]


def test_no_phrase_begins_or_ends_with_a_loose_word() -> None:
    assert found("给宝宝的礼物") == ["宝宝", "宝宝的礼物", "礼物"]


def test_characters_of_other_regions_are_shown_as_written_and_typed_in_either() -> None:
    assert {phrase.key: phrase.text for phrase in phrases("藍牙耳機")}["蓝牙"] == "藍牙"
    assert compact("藍牙") == "蓝牙"


def test_where_a_phrase_is_followed_by_nothing_is_told() -> None:
    ends = {phrase.text for phrase in phrases("蓝牙耳机入耳式 黑色") if phrase.is_end}
    assert ends == {"蓝牙耳机入耳式", "耳机入耳式", "入耳式", "黑色"}


def test_sounds_of_words_with_more_than_one_reading_are_the_words_own() -> None:
    assert pinyin(["重庆", "火锅"]) == Sounds(
        "chongqinghuoguo", "cqhg", ("chongqhg", "chongqinghg", "chongqinghuog")
    )
    assert pinyin(["银行"]) == Sounds("yinhang", "yh", ("yinh",))


def test_latin_words_are_written_out_among_sounds() -> None:
    sounds = pinyin(["iphone", "手机", "壳"])
    assert sounds is not None
    assert sounds[:2] == ("iphoneshoujike", "iphonesjk")
    assert pinyin(["iphone"]) is None


def test_what_is_typed_is_compared_without_case_spaces_and_signs() -> None:
    assert compact("Wi-Fi ６ 路由") == compact("wifi6路由") == "wifi6路由"
    assert compact("C++") == "c++"
    assert compact(" ，。") == ""


def test_words_of_a_label() -> None:
    assert words_of("手机数码/Apple") == ["手机", "数码", "apple"]
