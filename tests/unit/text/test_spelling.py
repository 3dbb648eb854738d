"""What is misspelt is corrected, what may be is offered, and what is right stays."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, strategies as st

from product_search.settings import Settings
from product_search.text.document import Described, document_terms
from product_search.text.negation import without_quotes
from product_search.text.query import analyse
from product_search.text.spelling import Spelling, find_doubts
from product_search.text.synonyms import Synonyms
from product_search.text.vocabulary import Vocabulary, product_words
from tests.hostile import HOSTILE

SHOP = (
    "蓝色拉杆箱 20寸",
    "头戴式蓝牙耳机",
    "机械键盘 87键",
    "拳击手套 12盎司",
    "车厘子 智利进口 5斤",
    "瑜伽垫 天然橡胶",
    "高山香蕉",
    "明治巧克力",
    "园艺剪刀",
    "杯子 2只",
    "大屏手机 128GB",
    "Adidas 跑步鞋",
    "Keyboard 键盘贴",
    "Backpack 旅行背包",
    "Garmin 手表表带",
    "iPhone 15 手机壳",
    "House 门牌",
    "Canon 相机",
    "GoPro12 运动相机",
    "Sony 音箱",
    "Lumora 面霜",
    "Lumoza 眼霜",
)
SURE = [
    ("拉杆相", "拉杆箱"),
    ("篮牙耳机", "蓝牙耳机"),
    ("机械健盘 87键", "机械键盘 87键"),
    ("拳机手套", "拳击手套"),
    ("粉色 拉杆相", "粉色 拉杆箱"),
    ("lanya erji", "蓝牙耳机"),
    ("laganxiang", "拉杆箱"),
    ("yujiadian", "瑜伽垫"),
    ("laganxiang samsonite", "拉杆箱 samsonite"),
    ("keybord", "keyboard"),
    ("gramin", "garmin"),
    ("bakcpack", "backpack"),
    ("soyn 音箱", "sony 音箱"),
    ("Adidias 跑步鞋 男 XL", "adidas 跑步鞋 男 XL"),
    ("iphnoe15手机壳", "iphone15手机壳"),
    ("gorpo12", "gopro12"),
]
OFFERED = [
    ("车里子", "车厘子"),  # 车里 is a word
    ("褙子", "杯子"),  # each character may stand alone
    ("加绒袄裙冬季明制女款", "加绒袄裙冬季明治女款"),  # a word of something else
    ("xiangjiao", "橡胶"),  # or 香蕉
    ("lanya", "蓝牙"),  # of something
    ("fony", "sony"),  # a word of four letters with another one, and it begins so
    ("lumola", "lumora"),  # or lumoza
]
RIGHT = [
    "一万元以上的包",  # 园艺
    "拉杆箱",
    "睡觉的玩偶",
    "实木椅子",
    "马面裙",
    "大屏手机",
    "二十寸登机箱静音万向轮",
    "两米乘一米五的榻榻米床垫可以定制尺寸",
    "家里养了两只猫用什么样的拉杆相比较好",  # long
    '"拉杆相"',
    "mouse",  # of house
    "cannon",
    "keyboards",
    "iphone16",
    "iphone15",
    "xr200",
    "gar-min",
    "asdkjh",
    "",
    "！！！",
]


@pytest.fixture(scope="module")
def synonyms() -> Synonyms:
    return Synonyms(Settings(_env_file=None).synonyms_path)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(Counter(word for title in SHOP for word in product_words(title, None)))


def settle(text: str, synonyms: Synonyms, vocabulary: Vocabulary) -> Spelling:
    """What all products say of the query."""
    plain, quoted = without_quotes(text)
    query = analyse(plain, synonyms, quoted=quoted)
    doubts = find_doubts(query, synonyms, vocabulary)
    terms = [document_terms(Described(title)) for title in SHOP]
    return doubts.settle(terms) if doubts else Spelling()


@pytest.mark.parametrize(("text", "meant"), SURE)
def test_what_is_misspelt_is_corrected(
    synonyms: Synonyms, vocabulary: Vocabulary, text: str, meant: str
) -> None:
    assert settle(text, synonyms, vocabulary) == (meant, None)
    assert settle(meant, synonyms, vocabulary) == (None, None)


@pytest.mark.parametrize(("text", "perhaps"), OFFERED)
def test_what_may_be_misspelt_is_offered(
    synonyms: Synonyms, vocabulary: Vocabulary, text: str, perhaps: str
) -> None:
    assert settle(text, synonyms, vocabulary) == (None, perhaps)


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_right_stays(synonyms: Synonyms, vocabulary: Vocabulary, text: str) -> None:
    assert settle(text, synonyms, vocabulary) == (None, None)


def test_what_is_sure_is_corrected_and_the_rest_offered_with_it(
    synonyms: Synonyms, vocabulary: Vocabulary
) -> None:
    both = settle("拉杆相 lumola", synonyms, vocabulary)
    assert both == ("拉杆箱 lumola", "拉杆箱 lumora")


def test_nothing_is_read_into_a_query_by_no_product(
    synonyms: Synonyms, vocabulary: Vocabulary
) -> None:
    doubts = find_doubts(analyse("拉杆相 laganxiang", synonyms), synonyms, vocabulary)
    assert doubts is not None
    assert doubts.settle([]) == (None, None)


def test_a_word_that_only_an_attribute_has_is_right(synonyms: Synonyms) -> None:
    vocabulary = Vocabulary({"cordura": 1})
    doubts = find_doubts(analyse("cordora", synonyms), synonyms, vocabulary)
    assert doubts is not None
    assert doubts.settle([]) == ("cordura", None)
    product = document_terms(Described("背包", attributes={"面料": "Cordora"}))
    assert doubts.settle([product]) == (None, None)


@given(st.sampled_from(HOSTILE) | st.text(max_size=40))
def test_any_text_can_be_doubted(synonyms: Synonyms, vocabulary: Vocabulary, text: str) -> None:
    settled = settle(text, synonyms, vocabulary)
    assert None in settled, "what was corrected is not offered too"
