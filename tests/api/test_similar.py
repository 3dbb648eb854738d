"""GET /product/{product_id}/similar: products like one that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from product_search.encoders.embeddings import Matrix
from product_search.search.recall import HybridDepth
from product_search.settings import Settings
from tests.api.helpers import base64_of, calibrated, code_of, create_all, fields_of, ids, resources
from tests.unit.pictures import encoded, noise

CURVE = {"coefficients": {"image_to_image": 20.0}, "intercept": -10.0, "line": 0.5}
ROWS: list[dict[str, Any]] = [
    {"title": "红色双肩包 学生书包", "category": "箱包", "brand": "拾光", "price": 129},
    {"title": "蓝色双肩包 旅行背包", "category": "箱包", "brand": "远行", "price": 259},
    {"title": "女士运动鞋 跑步鞋", "category": "鞋靴", "brand": "远行", "price": 199},
    {"title": "红富士苹果 5斤", "category": "生鲜果蔬", "price": 39.9},
    {"title": "书包 没有图片", "category": "箱包"},
    {"title": "红色双肩包 大号书包", "category": "箱包", "brand": "拾光", "price": 149},
]
SEEDS = [1, 2, 3, 1, None, 1]  # products with the same seed have nearly the same image


def picture(place: int, seed: int) -> str:
    image = noise((80, 60), seed).convert("RGB")
    image.putpixel((0, 0), (place, place, place))
    return base64_of(encoded(image, "PNG"))


@pytest.fixture(scope="module")
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service whose image-to-image scores were calibrated: all are shown if the best has 0.5."""
    with calibrated(open_settings(), image_to_image=CURVE) as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
def everyone(api: TestClient) -> list[int]:
    rows = [
        row | ({} if seed is None else {"image_base64": picture(place, seed)})
        for place, (row, seed) in enumerate(zip(ROWS, SEEDS, strict=True))
    ]
    return [product["product_id"] for product in create_all(api, rows)]


def similar(api: TestClient, product_id: int, **query: Any) -> dict[str, Any]:
    answer = api.get(f"/product/{product_id}/similar", params=query)
    assert answer.status_code == 200, answer.text
    return cast(dict[str, Any], answer.json())


@pytest.mark.parametrize("by", ["picture", "title", "both"])
def test_the_product_itself_is_never_there(api: TestClient, everyone: list[int], by: str) -> None:
    for product_id in (everyone[0], everyone[3], everyone[5]):
        answer = similar(api, product_id, by=by, min_confidence=0)
        assert product_id not in ids(answer["hits"] + answer["near_misses"])
        assert answer["hits"]
        assert [hit["rank"] for hit in answer["hits"]] == list(range(1, len(answer["hits"]) + 1))


def test_by_image_it_is_the_search_by_the_image_without_the_product(
    api: TestClient, everyone: list[int]
) -> None:
    query = {"mode": "image_to_image", "product_id": everyone[0]}
    searched = api.post("/search", json=query).json()
    answer = similar(api, everyone[0], by="picture")
    assert (answer["mode"], answer["min_confidence"]) == ("image_to_image", 0)
    others = [hit for hit in searched["hits"] if hit["product"]["product_id"] != everyone[0]]
    assert ids(answer["hits"]) == ids(others)
    assert answer["total"] == searched["total"] - 1
    for one, other in zip(answer["hits"], others, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1.01e-4)


def test_by_title_the_most_alike_title_comes_first(api: TestClient, everyone: list[int]) -> None:
    answer = similar(api, everyone[0], by="title")
    assert ids(answer["hits"])[0] == everyone[5]
    assert len(answer["hits"]) == len(everyone) - 1
    assert answer["mode"] == "text_to_text"
    assert {hit["confidence"] for hit in answer["hits"]} == {None}


def test_by_both_what_is_alike_in_both_comes_first(api: TestClient, everyone: list[int]) -> None:
    answer = similar(api, everyone[0])
    assert answer == similar(api, everyone[0], by="both") | {"took_ms": answer["took_ms"]}
    assert ids(answer["hits"])[0] == everyone[5]
    assert answer["mode"] == "hybrid"
    assert (answer["total"], answer["next_cursor"]) == (len(everyone) - 1, None)


def test_by_both_nothing_is_below_a_line_and_the_total_is_of_what_was_looked_at(
    api: TestClient, everyone: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = similar(api, everyone[0])
    assert (whole["min_confidence"], whole["no_match"], whole["total_is_exact"]) == (
        None,
        False,
        True,
    )
    monkeypatch.setattr(HybridDepth, "FIRST", 2)
    monkeypatch.setattr(HybridDepth, "FURTHER", 3)
    some = similar(api, everyone[0])
    assert (some["total"], some["total_is_exact"]) == (len(some["hits"]), False)
    assert 1 <= some["total"] < whole["total"]


def test_a_product_without_an_image_is_alike_by_its_title(
    api: TestClient, everyone: list[int]
) -> None:
    both, title = similar(api, everyone[4]), similar(api, everyone[4], by="title")
    assert ids(both["hits"]) == ids(title["hits"])
    answer = api.get(f"/product/{everyone[4]}/similar", params={"by": "picture"})
    assert code_of(answer) == (422, "product_without_image")


def test_filters_hold(api: TestClient, everyone: list[int]) -> None:
    for by in ("title", "both"):
        bags = similar(api, everyone[0], by=by, category="箱包")
        assert sorted(ids(bags["hits"])) == [everyone[1], everyone[4], everyone[5]]
        dear = similar(api, everyone[0], by=by, min_price="199", max_price=259)
        assert sorted(ids(dear["hits"])) == [everyone[1], everyone[2]]
        assert ids(similar(api, everyone[0], by=by, brand="拾光")["hits"]) == [everyone[5]]


def test_so_many_come_as_are_asked_for(api: TestClient, everyone: list[int]) -> None:
    answer = similar(api, everyone[0], top_k=2)
    assert (len(answer["hits"]), answer["total"]) == (2, len(everyone) - 1)


def test_nothing_may_be_alike(api: TestClient, everyone: list[int]) -> None:
    answer = similar(api, everyone[0], by="picture", min_confidence=1)
    assert (answer["hits"], answer["no_match"]) == ([], True)
    assert everyone[0] not in ids(answer["near_misses"])
    assert answer["near_misses"]


@pytest.mark.parametrize("by", ["title", "both"])
def test_by_title_there_is_no_confidence_to_ask_for(
    api: TestClient, everyone: list[int], by: str
) -> None:
    path = f"/product/{everyone[0]}/similar"
    answer = api.get(path, params={"by": by, "min_confidence": 0.5})
    assert code_of(answer) == (409, "not_calibrated")
    assert similar(api, everyone[0], by=by, min_confidence=0)["hits"]


def test_nothing_is_encoded(
    api: TestClient, everyone: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: object, _texts: Sequence[str], *_more: Sequence[str]) -> Matrix:
        raise AssertionError("a text is encoded")

    def refuse_images(_self: object, _images: Sequence[Image.Image]) -> Matrix:
        raise AssertionError("a picture is encoded")

    encoders = resources(api).encoders
    monkeypatch.setattr(type(encoders.text), "encode_documents", refuse)
    monkeypatch.setattr(type(encoders.text), "encode_queries", refuse)
    monkeypatch.setattr(type(encoders.image_text), "encode_images", refuse_images)
    for by in ("picture", "title", "both"):
        assert similar(api, everyone[0], by=by)["hits"]


def test_a_product_that_is_not_indexed_yet_says_so(api: TestClient) -> None:
    (fresh,) = create_all(api, [{"title": "新来的书包", "image_base64": picture(9, 9)}])
    resources(api).entities.delete([int(fresh["milvus_id"])])
    for by in ("picture", "title", "both"):
        answer = api.get(f"/product/{fresh['product_id']}/similar", params={"by": by})
        assert code_of(answer) == (409, "product_not_indexed")
    assert api.delete(f"/product/{fresh['product_id']}").status_code == 204


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"by": "colour"}, "by"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 101}, "top_k"),
        ({"min_confidence": 1.1}, "min_confidence"),
        ({"min_price": -1}, "min_price"),
        ({"category": " "}, "category"),
        ({"offset": 1}, "offset"),
    ],
)
def test_a_bad_query_says_what_is_wrong(
    api: TestClient, everyone: list[int], query: dict[str, Any], field: str
) -> None:
    answer = api.get(f"/product/{everyone[0]}/similar", params=query)
    assert code_of(answer) == (422, "invalid_request")
    assert fields_of(answer) == {field}


def test_a_product_that_does_not_exist_is_like_none(api: TestClient) -> None:
    assert code_of(api.get("/product/999999/similar")) == (404, "product_not_found")
