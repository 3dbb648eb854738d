"""The catalog's Latin words: which they are, and which of them a misspelt one is near to."""

from __future__ import annotations

import pytest

from product_search.text.vocabulary import Vocabulary, latin_words, product_words

SHOP = Vocabulary({"backpack": 9, "adidas": 4, "sony": 3, "pony": 7, "wh1000xm5": 1, "case": 2})


def test_words_are_folded_and_parted_words_come_whole_as_well() -> None:
    assert list(latin_words("索尼 ＳＯＮＹ WH-1000XM5 耳机")) == [
        "sony",
        "wh",
        "1000xm5",
        "wh1000xm5",
    ]


def test_of_a_name_with_a_number_the_name_is_a_word_too() -> None:
    assert product_words("iPhone15 手机壳 M16", "Lumo-X9") == {
        *("iphone15", "iphone", "m16", "lumo", "x9", "lumox9", "lumox"),
    }


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("bakcpack", "backpack"),  # swapped
        ("backpak", "backpack"),  # missing
        ("adidias", "adidas"),  # too many
        ("adudas", "adidas"),  # wrong
        ("bakpacks", "backpack"),  # two mistakes in a long word
    ],
)
def test_a_misspelt_word_is_recognised(typed: str, meant: str) -> None:
    assert SHOP.nearest(typed) == [meant]


def test_of_words_equally_near_the_most_frequent_comes_first() -> None:
    assert SHOP.nearest("tony") == ["pony", "sony"]


def test_a_nearer_word_comes_before_a_more_frequent_one() -> None:
    words = Vocabulary({"headphones": 1, "headphonics": 9})
    assert words.nearest("headphons") == ["headphones"]


@pytest.mark.parametrize("typed", ["adds", "wh1000xm4", "背包", "", "c++"])
def test_what_is_far_or_no_word_of_letters_is_nothing_misspelt(typed: str) -> None:
    assert SHOP.nearest(typed) == []


def test_the_catalog_has_its_words_and_no_others() -> None:
    assert SHOP.has("sony")
    assert SHOP.has("wh1000xm5")
    assert not SHOP.has("bakcpack")


def test_an_empty_catalog_knows_nothing() -> None:
    assert not Vocabulary().has("sony")
    assert Vocabulary().nearest("sony") == []


def test_what_is_added_is_known_at_once_and_stays_until_it_is_counted() -> None:
    words = Vocabulary({"sony": 1})
    words.add(["adidas", "wh1000xm5"])
    before = words.added
    words.add(["backpack"])
    assert words.nearest("adidias") == ["adidas"]
    assert words.has("wh1000xm5")
    words.replace({"pony": 1}, before)
    assert [words.has(one) for one in ("sony", "pony", "adidas", "backpack")] == [
        False,
        True,
        False,
        True,
    ]
    assert words.nearest("bakcpack") == ["backpack"]
