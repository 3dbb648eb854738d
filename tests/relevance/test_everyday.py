"""Right words stay as they are typed, whatever the shop sells; wrong ones are corrected."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from product_search.settings import ROOT, Settings
from product_search.text.document import Described, document_terms
from product_search.text.query import analyse
from product_search.text.spelling import Spelling, find_doubts
from product_search.text.synonyms import Synonyms
from product_search.text.vocabulary import Vocabulary, product_words

SETS = Path(__file__).parent
CATALOGS = [
    ROOT / "sample_data" / "catalog.csv",
    *(SETS / "shops" / name / "catalog.csv" for name in ("cosmetics", "food", "parts")),
]
QUERIES = (SETS / "everyday" / "queries.txt").read_text("utf-8").splitlines()
MOST_CHANGED = 0.01
PINYIN = {
    "lianyiqun": "连衣裙",
    "kouhong": "口红",
    "shubao": "书包",
    "maoliang": "猫粮",
    "chongdianbao": "充电宝",
    "yundongxie": "运动鞋",
    "baowenbei": "保温杯",
    "yujin": "浴巾",
    "shoujike": "手机壳",
    "niuzaiku": "牛仔裤",
}

# What the typos and the pinyin of the sample's query set mean, where a product is called so.
MEANT = {
    "篮牙耳机": "蓝牙耳机",
    "沙法": "沙发",
    "拉杆相": "拉杆箱",
    "灭火气": "灭火器",
    "西红市": "西红柿",
    "机械健盘": "机械键盘",
    "螺丝到": "螺丝刀",
    "太阳境": "太阳镜",
    "踢须刀": "剃须刀",
    "运动斜": "运动鞋",
    "拳机手套": "拳击手套",
    "番茄灌头": "番茄罐头",
    "指南真": "指南针",
    "台式电恼": "台式电脑",
    "乒乓球派": "乒乓球拍",
    "蜂密": "蜂蜜",
    "柠蒙": "柠檬",
    "shuangjianbao": "双肩包",
    "lanya erji": "蓝牙耳机",
    "niunai": "牛奶",
    "xigua": "西瓜",
    "kafei": "咖啡",
    "gaogenxie": "高跟鞋",
    "yujiadian": "瑜伽垫",
    "shubiao": "鼠标",
    "jiandao": "剪刀",
    "cha hu": "茶壶",
}


class Shop(NamedTuple):
    """The terms of a catalog's products, and its Latin words."""

    terms: Sequence[str]
    vocabulary: Vocabulary


def read_shop(paths: Sequence[Path]) -> Shop:
    terms: list[str] = []
    words: Counter[str] = Counter()
    for path in paths:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                attributes = json.loads(row["attributes"] or "{}")
                about = {name: row[name] or None for name in ("brand", "category", "sku")}
                terms.append(
                    document_terms(Described(row["title"], attributes=attributes, **about))
                )
                words.update(product_words(row["title"], row["brand"]))
    return Shop(terms, Vocabulary(words))


def settle(text: str, shop: Shop, synonyms: Synonyms) -> Spelling:
    query = analyse(text, synonyms)
    doubts = find_doubts(query, synonyms, shop.vocabulary)
    if doubts is None:
        return Spelling()
    found = [one for one in shop.terms if not query.asked.isdisjoint(one.split())]
    return doubts.settle(found)


def test_the_typos_and_the_pinyin_of_the_samples_queries_are_corrected() -> None:
    synonyms = Synonyms(Settings(_env_file=None).synonyms_path)
    sample = read_shop(CATALOGS[:1])
    settled = {text: settle(text, sample, synonyms).corrected for text in MEANT}
    assert settled == MEANT


@pytest.mark.parametrize("paths", [CATALOGS[:1], CATALOGS], ids=["sample", "together"])
def test_hardly_a_right_word_is_changed(paths: Sequence[Path]) -> None:
    synonyms = Synonyms(Settings(_env_file=None).synonyms_path)
    shop = read_shop(paths)
    settled = {text: settle(text, shop, synonyms) for text in QUERIES}
    changed = {text: one.corrected for text, one in settled.items() if one.corrected}
    wrong = {text: meant for text, meant in changed.items() if PINYIN.get(text) != meant}
    assert len(QUERIES) == 300
    assert len(wrong) <= MOST_CHANGED * len(QUERIES), wrong
    assert sum(one.offered is not None for one in settled.values()) <= 0.03 * len(QUERIES)
