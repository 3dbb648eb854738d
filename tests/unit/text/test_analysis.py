"""The normalisation that indexing and search share."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from product_search.settings import Settings
from product_search.text.analysis import plain, terms
from product_search.text.document import Described, document, document_terms
from product_search.text.negation import wish
from product_search.text.pinyin import syllables_of
from product_search.text.query import QueryText, analyse
from product_search.text.synonyms import Synonyms
from tests.hostile import HOSTILE


@pytest.fixture(scope="module")
def synonyms() -> Synonyms:
    return Synonyms(Settings(_env_file=None).synonyms_path)


def words(text: str) -> set[str]:
    return set(terms(text))


def of_product(title: str, **more: object) -> frozenset[str]:
    return frozenset(document_terms(Described(title, **more)).split())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("500ml", "500毫升"),
        ("５００ＭＬ", "0.5升"),
        ("5kg", "10斤"),
        ("十斤", "5公斤"),
        ("三吨", "3t"),
        ("2.2kW", "2200瓦"),
        ("28cm", "280毫米"),
        ("20英寸", "20寸"),
        ("四十二码", "42码"),
        ("一百二十米", "120m"),
        ("XR-200", "xr200"),
        ("M16×60", "m16*60"),
        ("IS80-65-160", "is80/65/160"),
        ("雙肩包", "双肩包"),
        ("Ａ４", "a4"),
    ],
)
def test_what_is_written_in_two_ways_has_a_term_in_common(one: str, other: str) -> None:
    assert next(iter(terms(one))) in words(other) or words(one) & words(other) - {""}


@pytest.mark.parametrize(("one", "other"), [("500ml", "500g"), ("42码", "43码"), ("M16", "M6")])
def test_what_differs_has_no_term_in_common(one: str, other: str) -> None:
    assert not words(one) & words(other)


def test_a_model_number_stays_whole_and_its_parts_are_found_too() -> None:
    assert {"s13m400kva", "s13", "400kva"} <= words("S13-M-400kVA")


def test_a_word_has_its_parts_and_its_sounds() -> None:
    assert {"双肩包", "双肩", "~shuang.jian", "~jian.bao"} <= words("双肩包")


def test_attributes_are_searched_by_their_values_and_true_by_its_name() -> None:
    found = of_product(
        "鞋", attributes={"颜色": "红", "尺码": 42, "承重kg": 50, "可折叠": True, "含糖": False}
    )
    assert {"红", "42码", "50000g", "折叠"} <= found
    assert not found & {"含糖", "颜色"}


def test_a_document_is_category_title_and_the_beginning_of_the_description() -> None:
    assert document("雨傘", "家居", "很" * 500) == "家居 雨伞。" + "很" * 200
    assert document("雨伞", None, None) == "雨伞"


@given(st.sampled_from(HOSTILE) | st.text(max_size=60))
def test_any_text_has_terms_without_spaces_and_is_plain_once(text: str) -> None:
    assert plain(plain(text)) == plain(text)
    assert all(term and " " not in term and term == term.strip() for term in terms(text))


@given(st.text(max_size=40), st.text(max_size=40))
def test_coverage_is_a_share_and_a_product_covers_its_own_title(
    synonyms: Synonyms, text: str, title: str
) -> None:
    query = analyse(text, synonyms)
    assert 0 <= query.coverage(of_product(title)) <= 1
    own = query.coverage(of_product(text))
    assert own in (0, pytest.approx(1)) or own > 0.5


def covered(query: QueryText, title: str) -> float:
    return query.coverage(of_product(title))


def test_words_cover_most_then_synonyms_then_sounds_then_parts_of_words(
    synonyms: Synonyms,
) -> None:
    query = analyse("凤梨", synonyms)
    assert covered(query, "台湾凤梨") == 1
    assert 1 > covered(query, "云南菠萝") > covered(analyse("风离", synonyms), "凤梨") > 0
    assert covered(query, "苹果") == 0
    assert covered(analyse("火车票", synonyms), "火车头玩具") < 0.5


def test_what_asks_for_nothing_has_no_terms(synonyms: Synonyms) -> None:
    assert analyse("的得地", synonyms).terms == ""
    assert analyse("！！！", synonyms).terms == ""


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("鼠标 不要无线的", "鼠标", ["无线"]),
        ("不含酒精的饮料", "饮料", ["酒精"]),
        ("沒有logo的帽子", "帽子", ["logo"]),
        ("雨伞，不要红色，不要黑色", "雨伞, ,", ["红色", "黑色"]),
        ("除了苹果以外的水果", "水果", ["苹果"]),
        ("不要辣的", "不要辣的", []),
        ("不锈钢杯", "不锈钢杯", []),
        ("非常好看的裙子", "非常好看的裙子", []),
        ("一百零五克糖", "一百零五克糖", []),
        ("一米零五的浴帘", "一米零五的浴帘", []),
        ("二零二四年日历", "二零二四年日历", []),
        ("洗衣皂 零香精", "洗衣皂", ["香精"]),
    ],
)
def test_what_a_query_does_not_want_is_told_apart(
    text: str, wanted: str, unwanted: list[str]
) -> None:
    assert wish(text)[:2] == (wanted, tuple(unwanted))


def test_characters_without_a_known_pinyin_stand_for_themselves(synonyms: Synonyms) -> None:
    unknown = "\U0002ebda"
    assert syllables_of(f"红{unknown}{unknown}伞") == ("hong", unknown, unknown, "san")
    assert syllables_of("红伞") == syllables_of("红色红伞")[2:] == ("hong", "san")
    assert analyse(2 * unknown, synonyms).coverage(of_product(2 * unknown)) == 1


@pytest.mark.parametrize("sku", ["---", "。", "\u0301", "货号"])
def test_a_sku_without_letters_and_digits_is_no_code(sku: str) -> None:
    assert document_terms(Described("台钳", sku=sku)) == document_terms(Described("台钳"))
