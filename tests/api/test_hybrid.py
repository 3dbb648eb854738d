"""POST /search without a mode: words, meanings and images together, and honest about no match."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from product_search.milvus.collection import MilvusCollection
from product_search.milvus.searches import EntitySearch, Found, TermSearch
from tests.api.helpers import base64_of, code_of, create, fields_of
from tests.api.sample import SAMPLE, import_sample

RED_BAG, BLUE_BAG, GREEN_BAG = "BAG-0001", "BAG-0002", "BAG-0003"


@pytest.fixture(scope="module")
def ids(api: TestClient, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Bags, electronics and industrial goods, by sku."""
    return import_sample(api, tmp_path_factory.mktemp("sample"), ("BAG", "ELEC", "IND"))


@pytest.fixture(autouse=True)
def _catalog(ids: dict[str, int]) -> None:
    assert len(ids) > 70


def ask(api: TestClient, **fields: Any) -> dict[str, Any]:
    answer = api.post("/search", json=fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def skus(body: dict[str, Any]) -> list[str]:
    return [hit["product"]["sku"] for hit in body["hits"]]


def picture(name: str) -> str:
    return base64_of((SAMPLE / "images" / name).read_bytes())


def test_text_alone_is_searched_by_all_legs(api: TestClient) -> None:
    body = ask(api, text="红色双肩包", explain=True)
    assert (body["mode"], body["no_match"], skus(body)[0]) == ("hybrid", False, RED_BAG)
    legs = {leg["leg"] for leg in body["hits"][0]["explain"]["legs"]}
    assert legs == {"bm25", "text_to_text", "text_to_image"}


@pytest.mark.parametrize(
    ("text", "sku"),
    [
        ("XR-200", "ELEC-0024"),
        ("xr200", "ELEC-0024"),
        ("ＸＲ－２００", "ELEC-0024"),
        ("M16*60", "IND-0002"),
        ("7500瓦 IS80-65-160", "IND-0022"),
        ("2200w", "IND-0029"),
        ("3t叉车", "IND-0026"),
        ("藍牙耳機", "ELEC-0003"),
    ],
)
def test_numbers_measures_and_characters_are_found_however_they_are_written(
    api: TestClient, text: str, sku: str
) -> None:
    assert sku in skus(ask(api, text=text))[: 1 if text[0].isascii() else 2]


@pytest.mark.parametrize(
    ("text", "meant"), [("shubiao", "鼠标"), ("lanya erji", "蓝牙耳机"), ("拉杆相", "拉杆箱")]
)
def test_pinyin_and_wrong_homophones_are_read_as_they_were_meant(
    api: TestClient, text: str, meant: str
) -> None:
    body = ask(api, text=text)
    assert body["corrected_query"] == meant
    assert skus(body) == skus(ask(api, text=meant))
    as_given = ask(api, text=text, correct=False)
    assert as_given["corrected_query"] is None


@pytest.mark.parametrize("mode", ["text_to_text", "text_to_image"])
def test_a_single_mode_takes_the_words_as_they_are(api: TestClient, mode: str) -> None:
    assert ask(api, mode=mode, text="拉杆相")["corrected_query"] is None


@pytest.mark.parametrize(
    ("text", "meant"), [("适合男生的红色包", None), ("红色双肩包", None), ("拉杆相", "拉杆箱")]
)
def test_what_was_asked_for_the_spelling_is_not_asked_again(
    api: TestClient, monkeypatch: pytest.MonkeyPatch, text: str, meant: str | None
) -> None:
    asked: list[EntitySearch] = []
    search_all = MilvusCollection.search_all

    def noted(self: MilvusCollection, searches: Sequence[EntitySearch]) -> list[Found]:
        asked.extend(searches)
        return search_all(self, searches)

    monkeypatch.setattr(MilvusCollection, "search_all", noted)
    assert ask(api, text=text)["corrected_query"] == meant
    by_terms = [one for one in asked if isinstance(one, TermSearch)]
    assert len(by_terms) == (1 if meant is None else 2)
    again = ask(api, text=meant or text, correct=False)
    assert skus(again) == skus(ask(api, text=text))


@pytest.mark.parametrize(
    ("text", "title", "meant"),
    [("keybord", "Keyboard 机械键盘", "keyboard"), ("gramin", "Garmin 手表表带", "garmin")],
)
def test_a_typing_mistake_in_a_latin_word_is_corrected(
    api: TestClient, text: str, title: str, meant: str
) -> None:
    sku = create(api, wait=True, title=title, sku=f"TYPO-{meant}")["sku"]
    body = ask(api, text=text)
    assert (body["corrected_query"], body["did_you_mean"]) == (meant, None)
    assert skus(body)[0] == sku
    as_given = ask(api, text=text, correct=False)
    assert (as_given["corrected_query"], as_given["did_you_mean"]) == (None, None)


def test_what_is_less_sure_is_searched_for_as_typed_and_offered(api: TestClient) -> None:
    for title in ("Lumora 面霜", "Lumora 眼霜", "Lumoza 面霜"):
        create(api, wait=True, title=title)
    text = "lumola 双肩包"
    body = ask(api, text=text)
    assert (body["corrected_query"], body["did_you_mean"]) == (None, "lumora 双肩包")
    priced = ask(api, text=f"5000元以内 {text}")
    assert priced["did_you_mean"] == "5000元以内 lumora 双肩包"
    as_given = ask(api, text=text, correct=False)
    assert (as_given["did_you_mean"], skus(as_given)) == (None, skus(body))


@pytest.mark.parametrize("text", ["asdkjh", "的得地了着过", "qwzx 9f8x7z2kq"])
def test_what_means_nothing_has_no_match(api: TestClient, text: str) -> None:
    body = ask(api, text=text)
    assert (body["hits"], body["no_match"], body["total"]) == ([], True, 0)
    assert body["total_is_exact"] in (True, False)
    line = body["min_confidence"]
    assert all(hit["confidence"] < line for hit in body["near_misses"])
    everything = ask(api, text=text, min_confidence=0, top_k=3)
    assert body["near_misses"] == [] or everything["hits"] != []


def test_every_hit_has_the_confidence_that_was_asked_for(api: TestClient) -> None:
    body = ask(api, text="鼠标", min_confidence=0.5)
    assert body["hits"]
    assert all(hit["confidence"] >= 0.5 for hit in body["hits"])
    assert body["min_confidence"] == 0.5
    assert body["total"] <= ask(api, text="鼠标")["total"]


def test_a_photo_of_a_wall_has_no_match(api: TestClient, png: Any) -> None:
    body = ask(api, image_base64=base64_of(png("gray", (200, 200))))
    assert (body["mode"], body["no_match"], body["hits"]) == ("image_to_image", True, [])


def test_contributions_add_up_to_the_score(api: TestClient) -> None:
    for hit in ask(api, text="无线鼠标", explain=True)["hits"]:
        added = sum(leg["contribution"] for leg in hit["explain"]["legs"])
        assert added == pytest.approx(hit["score"], abs=1e-5)


def test_the_filters_part_is_explained(api: TestClient) -> None:
    body = ask(api, text="双肩包", filters={"attributes": {"颜色": "绿"}}, explain=True)
    assert skus(body)[0] == GREEN_BAG
    assert body["hits"][0]["explain"]["rank_without_filters"] > 1
    assert body["total_without_filters"] > body["total"]
    nothing = ask(api, text="双肩包", filters={"brand": "没有"}, explain=True)
    assert nothing["no_match"]
    assert nothing["total_without_filters"] == body["total_without_filters"]
    assert ask(api, text="双肩包", explain=True)["total_without_filters"] is None


@pytest.mark.parametrize("leg", ["bm25", "text_to_text", "text_to_image"])
def test_a_leg_may_work_alone(api: TestClient, leg: str) -> None:
    others = {"bm25", "text_to_text", "text_to_image"} - {leg}
    body = ask(api, text="红色双肩包", legs=dict.fromkeys(others, 0), explain=True)
    assert {one["leg"] for hit in body["hits"] for one in hit["explain"]["legs"]} == {leg}
    assert body["hits"][0]["product"]["category"] == "箱包"


def test_an_image_and_a_word_ask_for_the_thing_in_another_colour(
    api: TestClient, ids: dict[str, int]
) -> None:
    body = ask(api, text="红色", image_base64=picture("1f392-blue.webp"))
    assert skus(body)[0] == RED_BAG
    parts = [{"product_id": ids[BLUE_BAG]}, {"text": "红色"}]
    assert skus(ask(api, parts=parts))[0] == RED_BAG


def test_what_is_not_wanted_is_left_out(api: TestClient, ids: dict[str, int]) -> None:
    all_bags = skus(ask(api, text="双肩包 书包"))
    assert {RED_BAG, BLUE_BAG} <= set(all_bags)
    for weight in (-1, -0.01):  # whatever the weight
        word = {"text": "红色", "weight": weight}
        without_word = ask(api, parts=[{"text": "双肩包 书包"}, word])
        assert RED_BAG not in skus(without_word)
        assert BLUE_BAG in skus(without_word)
        example = {"product_id": ids[BLUE_BAG], "weight": weight}
        without_example = ask(api, parts=[{"text": "双肩包 书包"}, example])
        assert BLUE_BAG not in skus(without_example)


def test_a_product_is_like_itself_by_title_and_image(api: TestClient, ids: dict[str, int]) -> None:
    body = ask(api, product_id=ids[RED_BAG], explain=True)
    assert skus(body)[0] == RED_BAG
    assert len(body["hits"][0]["explain"]["legs"]) == 4


def test_a_region_searches_by_a_part_of_the_image(api: TestClient, ids: dict[str, int]) -> None:
    whole = ask(api, mode="image_to_image", product_id=ids[RED_BAG], min_confidence=0)
    corner = {"mode": "image_to_image", "product_id": ids[RED_BAG], "min_confidence": 0}
    part = ask(api, **corner, region=[0, 0, 40, 40])
    assert whole["hits"][0]["score"] > 0.99 > part["hits"][0]["score"]
    everything = ask(api, **corner, region=[0, 0, 256, 256])
    assert everything["hits"][0]["score"] == pytest.approx(whole["hits"][0]["score"], abs=0.02)


def test_a_region_outside_the_image_is_refused(api: TestClient) -> None:
    bag = picture("1f392-blue.webp")
    answer = api.post("/search", json={"image_base64": bag, "region": [200, 0, 100, 10]})
    assert code_of(answer) == (422, "region_outside_image")


def test_what_fits_is_counted_by_category_brand_and_price(api: TestClient) -> None:
    body = ask(api, text="鼠标", facets=True, top_k=1)
    counts = body["facets"]
    assert sum(one["count"] for one in counts["category"]) == body["total"] > 1
    assert sum(band["count"] for band in counts["price"]) == body["total"]
    assert "数码电器" in {one["value"] for one in counts["category"]}


@pytest.mark.parametrize("order", ["price_asc", "price_desc", "newest"])
def test_sorting_never_brings_what_does_not_fit(api: TestClient, order: str) -> None:
    by_relevance = ask(api, text="鼠标", top_k=100)
    ordered = ask(api, text="鼠标", top_k=100, sort=order)
    assert sorted(skus(ordered)) == sorted(skus(by_relevance))
    prices = [float(hit["product"]["price"]) for hit in ordered["hits"]]
    times = [hit["product"]["created_at"] for hit in ordered["hits"]]
    wanted = {"price_asc": sorted(prices), "price_desc": sorted(prices, reverse=True)}
    if order == "newest":
        assert times == sorted(times, reverse=True)
    else:
        assert prices == wanted[order]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "包", "legs": {"bm25": 0, "text_to_text": 0, "text_to_image": 0}}, "legs"),
        ({"text": "包", "legs": {"image_to_image": 1}}, "legs"),
        ({"text": "包", "legs": {"bm25": -1}}, "legs.bm25"),
        ({"text": "包", "legs": {"bm26": 1}}, "legs.bm26.[key]"),
        ({"parts": [{"text": "红色", "weight": -1}]}, None),
        ({"parts": [{"text": "红色"}, {"text": "红色", "weight": -1}]}, None),
        ({"text": "红色", "parts": [{"text": "红色", "weight": -0.1}]}, None),
        ({"text": "Xr-200", "parts": [{"text": " ＸＲ-200", "weight": -1}]}, None),
        ({"parts": [{"text": "长" * 500} for _ in range(5)]}, None),
        ({"parts": [{"text": "红色", "weight": 0}]}, "parts.0.weight"),
        ({"parts": [{"text": "红色", "weight": 1.5}]}, "parts.0.weight"),
        ({"parts": [{"text": "红色", "product_id": 1}]}, "parts.0"),
        ({"parts": []}, "parts"),
        ({"parts": [{"text": str(n)} for n in range(17)]}, "parts"),
        ({"text": "包", "region": [0, 0, 10, 10]}, None),
        ({"text": "包", "region": [0, 0, 0, 10]}, "region.2"),
        ({"text": "包", "region": [0, 0, 10]}, "region.3"),
        ({"text": "包", "cursor": "x", "offset": 0}, None),
        ({"text": "包", "min_confidence": 2}, "min_confidence"),
        ({"text": "包", "min_confidence": True}, "min_confidence"),
        ({"parts": [{"text": "包", "weight": True}]}, "parts.0.weight"),
        ({"text": "包", "sort": "random"}, "sort"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_contradicts_itself_is_refused(
    api: TestClient, body: dict[str, Any], field: str | None
) -> None:
    answer = api.post("/search", json=body)
    assert code_of(answer) == (422, "invalid_request")
    assert fields_of(answer) == ({field} if field else set())


def test_a_part_with_more_weight_covers_more_of_the_query(api: TestClient) -> None:
    legs = {"text_to_text": 0, "text_to_image": 0}

    def best(bag: float, mouse: float) -> str:
        parts = [{"text": "双肩包", "weight": bag}, {"text": "鼠标", "weight": mouse}]
        body = ask(api, parts=parts, legs=legs, min_confidence=0)
        return str(body["hits"][0]["product"]["category"])

    assert (best(1, 0.1), best(0.1, 1)) == ("箱包", "数码电器")


def test_words_in_any_script_are_found(api: TestClient) -> None:
    made = create(api, wait=True, title="Кофе молотый コーヒー")
    for text in ("кофе", "コーヒー"):
        body = ask(api, text=text, min_confidence=0)
        assert body["hits"][0]["product"]["product_id"] == made["product_id"]
    assert api.delete(f"/product/{made['product_id']}").status_code == 204


def test_a_composed_query_may_come_as_a_form(api: TestClient, ids: dict[str, int]) -> None:
    content = (Path(SAMPLE) / "images" / "1f392-blue.webp").read_bytes()
    fields = {"parts": '[{"text": "红色"}]', "legs": '{"bm25": 1}', "facets": "true"}
    answer = api.post("/search", data=fields, files={"image": ("bag.webp", content)})
    assert answer.status_code == 200, answer.text
    assert skus(answer.json())[0] == RED_BAG
