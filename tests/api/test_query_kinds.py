"""What people type beside names finds what they mean: codes, measures, initials, signs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import create_all

# Beside the products of the cases: what they must not be mistaken for.
OTHERS = ("绿色帐篷 双人", "陶瓷马克杯", "儿童积木", "羊毛围巾", "不锈钢炒锅 32cm")


class Case(NamedTuple):
    """Products by sku, a query, which product comes first, and which are no hits."""

    products: dict[str, str]
    text: str
    first: str
    absent: tuple[str, ...] = ()


CASES = {
    "whole sku": Case({"NF.0450-82": "净水器滤芯"}, "NF.0450-82", "NF.0450-82"),
    "sku without signs": Case({"NF.0450-82": "净水器滤芯"}, "nf045082", "NF.0450-82"),
    "beginning of a sku": Case(
        {"KX-77-001": "折叠工具箱", "QZ-12-001": "折叠工具箱"}, "QZ-12", "QZ-12-001"
    ),
    "letters of a sku": Case({"LB-VM07": "丝绒口红", "LB-CC07": "丝绒口红"}, "LB-VM", "LB-VM07"),
    "twins by their sku": Case(
        {"KX-77-001": "折叠工具箱", "KX-77-002": "折叠工具箱"}, "KX-77-002", "KX-77-002"
    ),
    "barcode": Case({"6901234567892": "酱油"}, "6901234567892", "6901234567892"),
    "sku with spaces": Case({"BTX 400 18": "电钻", "BTX 400 12": "电钻"}, "BTX40018", "BTX 400 18"),
    "sku in parts": Case({"HB.8.221": "登山扣", "HB.8.220": "登山扣"}, "HB 8 221", "HB.8.221"),
    "told to be a code": Case({"ZW-0042": "晾衣架", "ZW-0043": "衣架"}, "货号ZW-0042", "ZW-0042"),
    "digits of a model": Case({"A": "滤网 DW88901F", "B": "滤网 DW77301F"}, "88901", "A"),
    "end of a model": Case({"A": "花洒 PT2043", "B": "花洒 PT204377AB"}, "77AB", "B"),
    "storage is no weight": Case({"A": "平板 128GB", "B": "平板 256GB"}, "128G", "A"),
    "grams stay grams": Case({"A": "挂面 800克", "B": "挂面 500克"}, "800g挂面", "A"),
    "space before a unit": Case({"A": "苏打水 500ml", "B": "苏打水 550ml"}, "500 ml", "A"),
    "a point": Case({"A": "音频线 3.5 mm", "B": "音频线 35mm"}, "3.5mm音频线", "A"),
    "metres as spoken": Case({"A": "浴帘 180cm", "B": "浴帘 200cm"}, "1米8的浴帘", "A"),
    "half of a unit": Case({"A": "腊肉 半斤", "B": "腊肉 一斤"}, "250g腊肉", "A"),
    "other units of storage": Case({"A": "硬盘 1024GB", "B": "硬盘 512GB"}, "1TB硬盘", "A"),
    "sides": Case({"A": "地垫 40x60cm", "B": "地垫 50x80cm"}, "40*60厘米地垫", "A"),
    "thread": Case({"A": "螺丝 M6×20", "B": "螺丝 M6×12"}, "m6*20", "A"),
    "a shade": Case({"A": "口红 #07", "B": "口红 #12"}, "口红7号", "A"),
    "model as one word": Case({"A": "Nova 15 手机壳", "B": "Nova 14 手机壳"}, "nova15手机壳", "A"),
    "one of many models": Case(
        {f"R{number}": f"Reno {number} 钢化膜" for number in range(6, 11)}, "reno8钢化膜", "R8"
    ),
    "two words as one": Case({"A": "Red Bull 饮料", "B": "Blue Bear 饮料"}, "redbull", "A"),
    "one word as two": Case({"A": "RedBull 饮料", "B": "BlueBear 饮料"}, "red bull", "A"),
    "part of a brand": Case({"A": "LaurentYSL 口红", "B": "LaurentABC 口红"}, "ysl", "A"),
    "accent in the title": Case({"A": "Müsli 麦片", "B": "Honey 麦片"}, "musli", "A"),
    "accent in the query": Case({"A": "Rose 香薰", "B": "Lime 香薰"}, "Rosé", "A"),
    "letters of other alphabets": Case({"A": "Gößer 啤酒杯", "B": "Paulaner 酒杯"}, "gosser", "A"),
    "initials": Case({"A": "蓝牙音箱 便携", "B": "电动牙刷"}, "lyyx", "A"),
    "initials of each word": Case({"A": "保温 饭盒", "B": "保暖 袜子"}, "bw fh", "A"),
    "initials of short words": Case({"A": "不粘炒锅", "B": "电动牙刷"}, "bzcg", "A"),
    "a typo that reads like pinyin": Case({"A": "Samsung 卡", "B": "Lexar 卡"}, "samsang", "A"),
    "a sign": Case({"A": "C# 编程入门", "B": "C++ 编程入门"}, "C++", "B"),
    "an emoji": Case({"A": "🎸 拨片套装", "B": "🎹 琴谱"}, "🎸", "A"),
    "a star": Case({"A": "贴纸 ⭐", "B": "贴纸 ❤️"}, "⭐️", "A"),
    "one character": Case({"A": "电动自行车", "B": "自行剃须刀"}, "车", "A"),
    "a quilt": Case({"A": "夏凉被 双人", "B": "夏凉席 双人"}, "被", "A"),
    "minus": Case({"A": "台灯 夹子款", "B": "台灯 底座款"}, "台灯 -夹子", "B", ("A",)),
    "quotes": Case({"A": "山茶花油 护发", "B": "花茶 山楂 油切"}, "“山茶花油”", "A", ("B",)),
    "quoted letters": Case({"A": "Red Velvet", "B": "Velvet Red"}, '"red velvet"', "A", ("B",)),
    "single quotes": Case({"A": "牛仔布 面料", "B": "布 牛仔"}, "'牛仔布'", "A", ("B",)),
    "minus and quotes": Case({"A": "护腕", "B": "护腕 Wi-Fi款"}, '护腕 -"Wi-Fi款"', "A", ("B",)),
    "a dash": Case({"A": "雨靴 小熊", "B": "雨靴 恐龙"}, "雨靴 —恐龙", "A", ("B",)),
    "without": Case({"A": "洗衣皂 无香精", "B": "洗衣皂 香精"}, "不含香精的洗衣皂", "A", ("B",)),
    "without, no 的": Case({"A": "湿巾 不含酒精", "B": "酒精湿巾"}, "无酒精湿巾", "A", ("B",)),
    "none of it": Case({"A": "豆浆粉 0蔗糖", "B": "豆浆粉 蔗糖"}, "没有蔗糖的豆浆粉", "A", ("B",)),
    "no word": Case({"A": "遮阳帽 无帽绳", "B": "遮阳帽 带帽绳"}, "不带帽绳的遮阳帽", "A", ("B",)),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, api: TestClient) -> Iterator[Case]:
    """A case whose products are in the catalogue."""
    chosen = CASES[request.param]
    made = create_all(
        api,
        [{"title": title} for title in OTHERS]
        + [{"sku": sku, "title": title} for sku, title in chosen.products.items()],
    )
    yield chosen
    for product in made:
        assert api.delete(f"/product/{product['product_id']}").status_code == 204


def test_each_kind_of_query_is_understood(api: TestClient, case: Case) -> None:
    body: dict[str, Any] = api.post("/search", json={"text": case.text, "min_confidence": 0}).json()
    found = [hit["product"]["sku"] for hit in body["hits"]]
    assert found[0] == case.first
    assert not set(found).intersection(case.absent)


def test_a_product_is_found_by_the_sku_that_it_was_given_later(api: TestClient) -> None:
    made = create_all(api, [{"sku": "OLD-31-A", "title": "折叠工具箱"}, {"title": "折叠工具箱 大"}])
    path = f"/product/{made[0]['product_id']}"
    assert api.patch(f"{path}?wait=true", json={"sku": "ZW-92-B"}).status_code == 200
    hits = api.post("/search", json={"text": "ZW-92-B", "min_confidence": 0}).json()["hits"]
    assert hits[0]["product"]["sku"] == "ZW-92-B"
    assert hits[0]["matched_field"] == "text_bm25_vector"
    for product in made:
        assert api.delete(f"/product/{product['product_id']}").status_code == 204


def test_what_is_quoted_is_asked_for_without_the_leg_of_words_too(api: TestClient) -> None:
    made = create_all(api, [{"title": "山茶花油 护发"}, {"title": "花茶 山楂 油切"}])
    body = {"text": "“山茶花油”", "min_confidence": 0, "legs": {"bm25": 0}}
    hits = api.post("/search", json=body).json()["hits"]
    assert [hit["product"]["title"] for hit in hits] == ["山茶花油 护发"]
    for product in made:
        assert api.delete(f"/product/{product['product_id']}").status_code == 204
