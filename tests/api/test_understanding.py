"""POST /search understands price words and negations, says so, and leaves them where told to."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import base64_of, create_all, fields_of
from tests.unit.pictures import encoded, noise

PHOTO = base64_of(encoded(noise((80, 60), 1), "PNG"))
# The title and the price; made one after the other.
SHOP = [
    ("红色双肩包 学生书包", "129.00"),
    ("蓝色双肩包 旅行背包", "259.00"),
    ("黑色双肩包 商务", "399.00"),
    ("保温杯 500ml", "59.00"),
    ("玻璃杯 300ml", "19.90"),
    ("蓝牙耳机 降噪", "300.00"),
    ("有线耳机", None),
]


@pytest.fixture(scope="module", autouse=True)
def shop(api: TestClient) -> dict[str, int]:
    """The shop's products, by title."""
    made = create_all(
        api,
        [
            {"title": title, "price": price, "image_base64": PHOTO, "attributes": {"号": place}}
            for place, (title, price) in enumerate(SHOP)
        ],
    )
    return {product["title"]: product["product_id"] for product in made}


def ask(api: TestClient, **fields: Any) -> dict[str, Any]:
    answer = api.post("/search", json=fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def titles(body: dict[str, Any]) -> list[str]:
    return [hit["product"]["title"] for hit in body["hits"]]


def price(gte: str | None, lte: str | None) -> dict[str, Any]:
    return {"price": {"gte": gte, "lte": lte}}


def test_price_words_are_a_filter_and_no_longer_words_to_search_for(api: TestClient) -> None:
    body = ask(api, text="300元以内的双肩包", explain=True)
    assert body["interpreted"] == [
        {"kind": "price", "text": "300元以内", "meaning": price(None, "300.00")}
    ]
    filtered = ask(api, text="双肩包", filters={"price": {"lte": 300}}, explain=True)
    assert body["hits"] == filtered["hits"]
    assert {"红色双肩包 学生书包", "蓝色双肩包 旅行背包"} <= set(titles(body))
    assert "黑色双肩包 商务" not in titles(body)
    assert body["total_without_filters"] == filtered["total_without_filters"] > body["total"]


@pytest.mark.parametrize("off", [False, {"price": False}])
def test_a_part_that_is_switched_off_is_searched_for_as_typed(api: TestClient, off: Any) -> None:
    body = ask(api, text="双肩包 300元以内", understand=off, min_confidence=0)
    assert body["interpreted"] == []
    assert "黑色双肩包 商务" in titles(body)


def test_a_corrected_query_keeps_the_words_that_were_understood(api: TestClient) -> None:
    typed = "shuangjianbao 300元以内"
    body = ask(api, text=typed)
    assert body["corrected_query"] == "双肩包 300元以内"
    again = ask(api, text=body["corrected_query"])
    assert (again["corrected_query"], titles(again)) == (None, titles(body))
    assert ask(api, text="双肩包 300元以内")["corrected_query"] is None


def test_what_is_not_wanted_is_told_and_may_be_switched_off(api: TestClient) -> None:
    text = "双肩包 不要红色的 300元以内"
    body = ask(api, text=text)
    kinds = [one["kind"] for one in body["interpreted"]]
    assert kinds == ["price", "negation"]
    assert body["interpreted"][1]["meaning"] == {"without": "红色"}
    assert "红色双肩包 学生书包" not in titles(body)
    with_red = ask(api, text=text, understand={"negation": False}, min_confidence=0)
    assert [one["kind"] for one in with_red["interpreted"]] == ["price"]
    assert "红色双肩包 学生书包" in titles(with_red)


def test_prices_in_words_and_in_filters_hold_together(api: TestClient) -> None:
    filters = {"price": {"gte": 200, "lte": 1000}}
    body = ask(api, text="双肩包 300元以下", filters=filters, min_confidence=0)
    assert body["interpreted"][0]["meaning"] == price(None, "300.00")
    assert sorted(titles(body)) == ["蓝牙耳机 降噪", "蓝色双肩包 旅行背包"]
    two = ask(api, text="200元以上 300元以下的双肩包", min_confidence=0)
    assert len(two["interpreted"]) == 2
    assert titles(two) == titles(body)


def test_prices_that_contradict_the_filters_are_told(api: TestClient) -> None:
    body = ask(api, text="双肩包 100元以下", filters={"price": {"gte": 200}}, explain=True)
    assert (body["hits"], body["total"], body["no_match"]) == ([], 0, True)
    assert body["near_misses"] == []
    assert body["interpreted"] == [
        {
            "kind": "price",
            "text": "100元以下",
            "meaning": price(None, "100.00"),
            "contradicts": True,
        }
    ]
    (warning,) = body["warnings"]
    assert "100元以下" in warning
    alone = ask(api, text="100元以下", filters={"price": {"gte": 200}})
    assert (alone["hits"], alone["no_match"]) == ([], True)
    again = ask(api, text="双肩包 100元以下 200元以上")
    assert [one.get("contradicts", False) for one in again["interpreted"]] == [False, True]
    assert again["hits"] == []


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"text": "300元以内"}, [5, 4, 3, 1, 0]),
        ({"text": "推荐个300元以内的"}, [5, 4, 3, 1, 0]),
        ({"text": "300元以内", "sort": "price_asc"}, [4, 3, 0, 1, 5]),
        ({"text": "300元以内", "sort": "price_desc"}, [5, 1, 0, 3, 4]),
        ({"text": "300元以内", "sort": "newest"}, [5, 4, 3, 1, 0]),
        ({"text": "300元以内", "filters": {"price": {"gte": 100}}}, [5, 1, 0]),
        ({"text": "300元以内", "filters": {"attributes": {"号": {"lt": 4}}}}, [3, 1, 0]),
        ({"text": "300元以内", "min_confidence": 0.9}, [5, 4, 3, 1, 0]),
        ({"text": "300元以内", "legs": {"bm25": 1, "text_to_text": 0}}, [5, 4, 3, 1, 0]),
        ({"parts": [{"text": "300元以内"}]}, [5, 4, 3, 1, 0]),
        (
            {"parts": [{"text": "300元以内"}, {"text": "双肩包", "weight": -0.5}]},
            [5, 4, 3],
        ),
        ({"text": "300元以内 不要双肩包"}, [5, 4, 3]),
        ({"text": "一千元以上"}, []),
    ],
    ids=str,
)
def test_price_words_alone_list_what_passes(
    api: TestClient, fields: dict[str, Any], wanted: list[int]
) -> None:
    body = ask(api, **fields, explain=True, facets=True)
    assert titles(body) == [SHOP[place][0] for place in wanted]
    assert (body["mode"], body["no_match"]) == ("hybrid", not wanted)
    assert (body["total"], body["total_is_exact"]) == (len(wanted), True)
    assert (body["min_confidence"], body["dropped"], body["near_misses"]) == (None, 0, [])
    assert sum(band["count"] for band in body["facets"]["price"]) == len(wanted)
    for hit in body["hits"]:
        assert (hit["score"], hit["confidence"], hit["matched_field"]) == (0, None, None)


def test_an_example_that_is_not_wanted_is_not_listed(api: TestClient, shop: dict[str, int]) -> None:
    unwanted = {"product_id": shop["玻璃杯 300ml"], "weight": -1}
    body = ask(api, parts=[{"text": "100元以内"}, unwanted])
    assert titles(body) == ["保温杯 500ml"]


def test_variants_in_a_list_are_one_hit(api: TestClient) -> None:
    made = create_all(
        api,
        [
            {"title": f"T恤 {size}", "price": 5000, "group": "T恤", "attributes": {}}
            for size in "SML"
        ],
    )
    query = {"text": "5000元以上", "sort": "price_desc", "facets": True}
    listed = ask(api, **query)
    assert (len(listed["hits"]), listed["total"]) == (1, 1)
    for product in made:
        assert api.delete(f"/product/{product['product_id']}").status_code == 204


@pytest.mark.parametrize("text", ["300元以内", "双肩包 300元以内"])
def test_pages_of_understood_queries_are_one_answer(api: TestClient, text: str) -> None:
    query: dict[str, Any] = {"text": text, "min_confidence": 0}
    whole = ask(api, **query, top_k=100)
    by_cursor: list[str] = []
    page = ask(api, **query, top_k=2)
    while True:
        by_cursor += titles(page)
        if page["next_cursor"] is None:
            break
        page = ask(api, **query, top_k=2, cursor=page["next_cursor"])
    assert by_cursor == titles(whole)
    by_offset = [titles(ask(api, **query, top_k=1, offset=at)) for at in range(len(by_cursor))]
    assert [one for page in by_offset for one in page] == by_cursor
    ranks = [hit["rank"] for hit in ask(api, **query, top_k=2, offset=2)["hits"]]
    assert ranks == [3, 4]


def test_a_cursor_is_of_the_query_as_it_was_understood(api: TestClient) -> None:
    cursor = ask(api, text="300元以内", top_k=1)["next_cursor"]
    body = {"text": "300元以内", "top_k": 1, "cursor": cursor, "understand": False}
    answer = api.post("/search", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")


def test_parts_that_are_wanted_are_understood_and_others_are_not(api: TestClient) -> None:
    wanted = ask(api, parts=[{"text": "双肩包 300元以内"}], min_confidence=0)
    assert [one["kind"] for one in wanted["interpreted"]] == ["price"]
    assert "黑色双肩包 商务" not in titles(wanted)
    parts = [{"text": "双肩包"}, {"text": "300元以内", "weight": -1}]
    unwanted = ask(api, parts=parts, min_confidence=0)
    assert unwanted["interpreted"] == []
    assert "黑色双肩包 商务" in titles(unwanted)


def test_an_image_with_price_words_is_searched_by_the_image(api: TestClient) -> None:
    body = ask(api, text="300元以内", image_base64=PHOTO, legs={"bm25": 1})
    assert body["mode"] == "hybrid"
    assert {hit["matched_field"] for hit in body["hits"]} == {"image_clip_vector"}
    assert "黑色双肩包 商务" not in titles(body)


def test_a_price_does_not_stand_in_for_legs_that_are_switched_off(api: TestClient) -> None:
    legs = {"bm25": 0, "text_to_text": 0, "text_to_image": 0}
    answer = api.post("/search", json={"text": "双肩包 300元以内", "legs": legs})
    assert (answer.status_code, fields_of(answer)) == (422, {"legs"})


def test_the_line_has_the_digits_of_what_it_is_compared_with(api: TestClient) -> None:
    body = ask(api, text="双肩包")
    assert body["min_confidence"] == round(body["min_confidence"], 4)
    assert all(hit["confidence"] >= body["min_confidence"] for hit in body["hits"])


@pytest.mark.parametrize("mode", ["text_to_text", "text_to_image"])
def test_single_modes_take_texts_as_they_are(api: TestClient, mode: str) -> None:
    body = ask(api, mode=mode, text="300元以内", min_confidence=0)
    assert body["interpreted"] == []
    assert "黑色双肩包 商务" in titles(body)


def test_a_batch_is_understood_query_by_query(api: TestClient) -> None:
    queries: list[dict[str, Any]] = [
        {"text": "双肩包 300元以内"},
        {"text": "300元以内", "top_k": 2},
        {"text": "双肩包 300元以内", "understand": False},
        {"text": "双肩包 100元以下", "filters": {"price": {"gte": 200}}},
    ]
    results = api.post("/search/batch", json={"queries": queries}).json()["results"]
    alone = [ask(api, **query) for query in queries]
    assert [titles(one) for one in results] == [titles(one) for one in alone]
    assert [one["interpreted"] for one in results] == [one["interpreted"] for one in alone]


def test_a_form_switches_understanding_off(api: TestClient) -> None:
    for off in ("false", '{"price": false}'):
        answer = api.post("/search", files={"text": (None, "300元以内"), "understand": (None, off)})
        assert answer.status_code == 200, answer.text
        assert answer.json()["interpreted"] == []


def test_rerank_keeps_what_it_was_given(api: TestClient, shop: dict[str, int]) -> None:
    body = {"product_ids": list(shop.values()), "text": "双肩包 100元以内"}
    assert api.post("/rerank", json=body).json()["total"] == len(SHOP)


@pytest.mark.parametrize("wrong", [None, "price", ["price"], {"colour": False}, {"price": "x"}, 2])
def test_understand_is_a_boolean_or_kinds(api: TestClient, wrong: Any) -> None:
    answer = api.post("/search", json={"text": "书包", "understand": wrong})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert all(name.startswith("understand") for name in fields_of(answer))
