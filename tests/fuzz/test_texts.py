"""Any text, as a query and as a product's: it is understood somehow, and soon."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from data_models import MAX_QUERY, MAX_TITLE
from product_search.settings import Settings
from product_search.text import phrases
from product_search.text.document import Described, document, document_terms
from product_search.text.measures import measures, sides
from product_search.text.negation import absences, wish, without_quotes
from product_search.text.query import analyse
from product_search.text.spelling import find_doubts
from product_search.text.synonyms import Synonyms
from product_search.text.understanding import find_prices, without_words
from product_search.text.vocabulary import Vocabulary, latin_words
from tests.fuzz.inputs import FEW, at_most
from tests.hostile import HOSTILE

SECONDS = 3
# Words and signs that mean something to one of the readers, and what is near to them.
WORDS = """
300 元 块 以内 以下 到 - ~ ¥ 万 千 百 一 零 半 几 预算 价格 不超过 低于 左右 k rmb between and under
. , ， 不要 不含 无 没有 除了 以外 的 “ ” " 「 」 ' 非 免 ml cm kg 寸 码 × x * m6 GB ½ ㎡ ５ 号 #
/ _ lanya lyej iPhone15 wh-1000xm5 AirPods é ß İ ﬁ Ⅷ 𠮷 🎒 蓝牙耳机 自行车 货号 红 雨傘 0
"""
PIECES = [*WORDS.split(), "e\u0301", "\u200b", "\u0301", " ", "　", "\n", "\x00", "9" * 30]
texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    # The same again and again is what patterns stumble over.
    st.builds(
        lambda some, times, end: "".join(some) * times + end,
        st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), min_size=1, max_size=4),
        st.integers(1, 500),
        st.sampled_from([*PIECES, ""]),
    ),
)


@pytest.fixture(scope="module")
def synonyms() -> Synonyms:
    return Synonyms(Settings(_env_file=None).synonyms_path)


@FEW
@given(texts)
def test_any_query_is_understood_soon(synonyms: Synonyms, text: str) -> None:
    text = text[:MAX_QUERY]
    with at_most(SECONDS):
        prices = find_prices(text)
        rest = without_words(text, prices)
        bare, quoted = without_quotes(rest)
        wanted, unwanted = wish(bare)
        query = analyse(wanted, synonyms, unwanted, quoted)
        vocabulary = Vocabulary(dict.fromkeys(latin_words("iphone airpods bluetooth"), 1))
        doubts = find_doubts(query, synonyms, vocabulary)
        if doubts is not None:
            doubts.settle([document_terms(Described("蓝牙耳机 iPhone 15"))])
    assert all(0 <= one.start < one.end <= len(text) for one in prices)
    assert 0 <= query.coverage(frozenset(query.terms.split())) <= 1


@FEW
@given(texts, texts, texts)
def test_any_product_has_terms_soon(title: str, label: str, described: str) -> None:
    product = Described(
        title[:MAX_TITLE],
        described,
        label[:100],
        label[:100],
        label[:100],
        {label[:100]: [title[:200], 1.5, False], "承重kg": described[:200]},
    )
    with at_most(SECONDS):
        terms = document_terms(product)
        document(product.title, product.category, product.description)
        assert all(phrase.key for phrase in phrases.phrases(product.title))
        phrases.pinyin(phrases.words_of(product.title))
    assert "" not in terms.split(" ") or not terms


@FEW
@given(texts)
def test_any_text_has_measures_soon(text: str) -> None:
    text = text[:MAX_TITLE]
    with at_most(SECONDS):
        assert all(isinstance(one, str) for one in [*measures(text), *sides(text)])
        assert all(one.start <= one.end for one in absences(text))
        for price in find_prices(text):
            ends = [end for end in (price.gte, price.lte) if end is not None]
            assert ends
            assert ends == sorted(ends)
            assert all(isinstance(end, Decimal) and end.is_finite() and end >= 0 for end in ends)
