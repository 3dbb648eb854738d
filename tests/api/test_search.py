"""POST /search: four modes, their inputs, pages, and who comes first."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from fastapi.testclient import TestClient

from product_search.search.inputs import STAGES
from tests.api.helpers import base64_of, code_of, create_all, ids, search
from tests.unit.pictures import encoded, good_images, noise

MODES = ["text_to_text", "text_to_image", "image_to_image", "image_to_text"]
FIELDS = {
    "text_to_text": "text_bge_vector",
    "text_to_image": "image_clip_vector",
    "image_to_image": "image_clip_vector",
    "image_to_text": "text_clip_vector",
}
TITLES = ["红色双肩包", "女士运动鞋", "红富士苹果", "保温杯", "蓝牙耳机", "儿童雨伞", "变压器"]
PHOTOS = [encoded(noise((80, 60), seed), "PNG") for seed in range(len(TITLES))]
PLAIN = ["没有图片的书架", "没有图片的台灯"]
TWINS = 12  # products with the same title and the same image: their scores are equal


@pytest.fixture(scope="module", autouse=True)
def catalog(api: TestClient) -> list[dict[str, Any]]:
    """Products with an image each, then some without, then the twins."""
    pairs = zip(TITLES, PHOTOS, strict=True)
    rows = [{"title": title, "image_base64": base64_of(photo)} for title, photo in pairs]
    rows += [{"title": title} for title in PLAIN]
    twin = {"title": "一模一样的袜子", "image_base64": base64_of(encoded(noise((9, 9), 99), "PNG"))}
    return create_all(api, rows + [twin] * TWINS)


def query(mode: str, place: int = 0) -> dict[str, Any]:
    """What a mode searches with: the title or the photo of one product."""
    if mode.startswith("text"):
        return {"text": TITLES[place]}
    return {"image_base64": base64_of(PHOTOS[place])}


def answer_to(api: TestClient, mode: str, **fields: Any) -> dict[str, Any]:
    answer = api.post("/search", json={"mode": mode, "min_confidence": 0} | fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_says_all_about_itself(api: TestClient, mode: str) -> None:
    body = answer_to(api, mode, **query(mode))
    assert (body["mode"], body["encoder"], body["dropped"]) == (mode, "starter", 0)
    assert set(body["took_ms"]) == {*STAGES, "total"}
    assert all(spent >= 0 for spent in body["took_ms"].values())
    assert {hit["matched_field"] for hit in body["hits"]} == {FIELDS[mode]}
    assert [hit["rank"] for hit in body["hits"]] == list(range(1, 11))


@pytest.mark.parametrize("mode", MODES)
def test_hits_come_by_falling_score(api: TestClient, mode: str) -> None:
    hits = search(api, mode, **query(mode), top_k=100)
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(-1 <= score <= 1 for score in scores)
    assert len(set(ids(hits))) == len(hits)


@pytest.mark.parametrize("place", range(len(TITLES)))
def test_a_stored_image_searched_with_itself_comes_first(
    api: TestClient, catalog: list[dict[str, Any]], place: int
) -> None:
    for given in ({"image_base64": base64_of(PHOTOS[place])}, catalog[place]):
        fields = {k: v for k, v in given.items() if k in {"image_base64", "product_id"}}
        first = search(api, "image_to_image", **fields)[0]
        assert first["product"]["product_id"] == catalog[place]["product_id"]
        assert first["score"] >= 0.98


@pytest.mark.parametrize("place", range(len(TITLES)))
def test_a_title_comes_first_when_its_words_are_searched(
    api: TestClient, catalog: list[dict[str, Any]], place: int
) -> None:
    first = search(api, "text_to_text", text=TITLES[place])[0]
    assert first["product"]["product_id"] == catalog[place]["product_id"]


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("书包", "红色双肩包"),
        ("水果", "红富士苹果"),
        ("跑步穿的鞋", "女士运动鞋"),
        ("耳麦", "蓝牙耳机"),
    ],
)
def test_other_words_for_a_thing_find_it(api: TestClient, words: str, title: str) -> None:
    assert search(api, "text_to_text", text=words)[0]["product"]["title"] == title


@pytest.mark.parametrize("mode", ["text_to_image", "image_to_image"])
def test_a_product_without_an_image_never_answers_an_image_leg(api: TestClient, mode: str) -> None:
    titles = {hit["product"]["title"] for hit in search(api, mode, **query(mode), top_k=100)}
    assert len(titles) == len(TITLES) + 1
    assert titles.isdisjoint(PLAIN)


@pytest.mark.parametrize("mode", ["text_to_text", "image_to_text"])
def test_a_product_without_an_image_answers_a_text_leg(api: TestClient, mode: str) -> None:
    titles = {hit["product"]["title"] for hit in search(api, mode, **query(mode), top_k=100)}
    assert set(PLAIN) <= titles


@pytest.mark.parametrize("mode", MODES)
def test_a_product_as_the_query_is_its_title_or_its_image(
    api: TestClient, catalog: list[dict[str, Any]], mode: str
) -> None:
    by_product = search(api, mode, product_id=catalog[2]["product_id"], top_k=100)
    by_hand = search(api, mode, **query(mode, 2), top_k=100)
    assert [hit["score"] for hit in by_product] == [hit["score"] for hit in by_hand]
    assert ids(by_product) == ids(by_hand)


@pytest.mark.parametrize("mode", ["image_to_image", "image_to_text"])
def test_a_product_without_an_image_is_no_image_query(
    api: TestClient, catalog: list[dict[str, Any]], mode: str
) -> None:
    plain = catalog[len(TITLES)]["product_id"]
    answer = api.post("/search", json={"mode": mode, "product_id": plain})
    assert code_of(answer) == (422, "product_without_image")


@pytest.mark.parametrize("mode", MODES)
def test_a_product_that_does_not_exist_is_no_query(api: TestClient, mode: str) -> None:
    answer = api.post("/search", json={"mode": mode, "product_id": 2**63 - 1})
    assert code_of(answer) == (404, "product_not_found")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 4, 7])
def test_pages_one_after_another_are_the_unpaged_list(
    api: TestClient, mode: str, size: int
) -> None:
    whole = search(api, mode, **query(mode), top_k=100)
    pages = [
        search(api, mode, **query(mode), top_k=size, offset=offset)
        for offset in range(0, len(whole) + size, size)
    ]
    assert list(itertools.chain(*pages)) == whole


def test_pages_of_equals_hold_each_of_them_once(
    api: TestClient, catalog: list[dict[str, Any]]
) -> None:
    twins = {product["product_id"] for product in catalog[-TWINS:]}
    pages = [
        search(api, "text_to_text", text="一模一样的袜子", top_k=5, offset=offset)
        for offset in range(0, 15, 5)
    ]
    assert set(ids(itertools.chain(*pages))[:TWINS]) == twins


@pytest.mark.parametrize("offset", [len(TITLES) + len(PLAIN) + TWINS, 10_000])
def test_an_offset_behind_the_end_finds_nothing(api: TestClient, offset: int) -> None:
    assert search(api, "text_to_text", text="书包", offset=offset, top_k=100) == []


@pytest.mark.parametrize("mode", MODES[2:])
def test_an_image_may_come_as_a_file(api: TestClient, mode: str) -> None:
    answer = api.post(
        "/search",
        data={"mode": mode, "top_k": "3", "offset": "1", "filters": "{}", "min_confidence": "0"},
        files={"image": ("../../etc/passwd", PHOTOS[1], "text/plain")},
    )
    assert answer.status_code == 200, answer.text
    by_json = search(api, mode, image_base64=base64_of(PHOTOS[1]), top_k=3, offset=1)
    assert answer.json()["hits"] == by_json


def test_a_text_may_come_as_a_form(api: TestClient) -> None:
    fields = {"mode": "text_to_text", "text": " 书包 🎒", "filters": '{"category": "没有"}'}
    answer = api.post("/search", files={name: (None, value) for name, value in fields.items()})
    assert answer.status_code == 200, answer.text
    assert answer.json()["hits"] == []


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")  # Pillow's own remark
@pytest.mark.parametrize("name", good_images())
def test_every_kind_of_image_is_searched_as_it_is(api: TestClient, name: str) -> None:
    image = base64_of(good_images()[name])
    assert len(search(api, "image_to_image", image_base64=image, top_k=3)) == 3


@pytest.mark.parametrize(
    "text",
    ["🎒", "𠮷", "a", "'; DROP TABLE product; --", '"\\%_', "\x00书\x01包", "包" * 512, " 书 "],
)
@pytest.mark.parametrize("mode", ["text_to_text", "text_to_image"])
def test_any_text_with_something_to_see_is_searched(api: TestClient, mode: str, text: str) -> None:
    assert len(search(api, mode, text=text, top_k=3)) == 3


def test_a_search_changes_nothing(api: TestClient, catalog: list[dict[str, Any]]) -> None:
    path = f"/product/{catalog[0]['product_id']}"
    before = api.get(path).json()
    search(api, "image_to_image", product_id=catalog[0]["product_id"])
    assert api.get(path).json() == before
