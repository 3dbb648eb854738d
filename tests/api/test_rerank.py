"""POST /rerank: given products in order, from the vectors that are stored of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from data_models import RerankRequest
from nlp_models import EncoderPair, ImageTextEncoder
from product_search.encoders.embeddings import Matrix
from product_search.schemas import examples
from product_search.search.rerank import rerank_products
from tests.api.helpers import base64_of, code_of, create, create_all, fields_of, ids, resources
from tests.stand_ins import StandIn
from tests.unit.pictures import encoded, noise

TITLES = [
    "红色双肩包 学生书包",
    "女士运动鞋 跑步鞋",
    "红富士苹果 5斤",
    "保温杯 500ml 不锈钢",
    "蓝牙耳机 XR-200",
    "儿童雨伞 卡通",
    "成人雨伞 折叠",
    "不锈钢炒锅 32cm",
]
PHOTOS = [encoded(noise((80, 60), seed), "PNG") for seed in range(len(TITLES))]
PLAIN = ["没有图片的书包", "没有图片的雨伞"]
GONE = 999_999


@dataclass(frozen=True)
class Counted(EncoderPair):
    """Encoders that note the texts that they are given, and refuse products."""

    texts: list[str] = field(default_factory=list)

    def encode_search(self, queries: Sequence[str], texts: Sequence[str]) -> tuple[Matrix, Matrix]:
        """See EncoderPair."""
        self.texts.extend([*queries, *texts])
        return super().encode_search(queries, texts)

    def encode_products(
        self, documents: Sequence[str], titles: Sequence[str]
    ) -> tuple[Matrix, Matrix]:
        """See EncoderPair."""
        raise AssertionError("a product is encoded again")


class Images:
    """The image-text encoder, which notes the images that it is given."""

    def __init__(self, real: ImageTextEncoder) -> None:
        self._real = real
        self.given: list[Image.Image] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        """See ImageTextEncoder."""
        self.given += images
        return self._real.encode_images(images)


@pytest.fixture(scope="module", autouse=True)
def catalog(api: TestClient) -> list[dict[str, Any]]:
    pairs = zip(TITLES, PHOTOS, strict=True)
    rows = [{"title": title, "image_base64": base64_of(photo)} for title, photo in pairs]
    return create_all(api, rows + [{"title": title} for title in PLAIN])


@pytest.fixture(scope="module")
def everyone(catalog: list[dict[str, Any]]) -> list[int]:
    return [product["product_id"] for product in catalog]


def rerank(api: TestClient, product_ids: Sequence[int], **fields: Any) -> dict[str, Any]:
    answer = api.post("/rerank", json={"product_ids": list(product_ids)} | fields)
    assert answer.status_code == 200, answer.text
    return cast(dict[str, Any], answer.json())


QUERIES: list[dict[str, Any]] = [
    {"text": "雨伞"},
    {"text": "不锈钢的"},
    {"text": "xr200"},
    {"text": "书包", "image_base64": base64_of(PHOTOS[3])},
]


@pytest.mark.parametrize("query", QUERIES)
def test_all_products_come_in_the_order_of_a_hybrid_search(
    api: TestClient, everyone: list[int], query: dict[str, Any]
) -> None:
    asked = query | {"mode": "hybrid", "min_confidence": 0, "top_k": 100}
    searched = api.post("/search", json=asked).json()["hits"]
    reranked = rerank(api, everyone[::-1], **query)
    assert ids(reranked["hits"]) == ids(searched)
    for one, other in zip(reranked["hits"], searched, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1.01e-4)
        assert (one["rank"], one["matched_field"]) == (other["rank"], other["matched_field"])
    assert (reranked["total"], reranked["missing"]) == (len(everyone), [])


@pytest.mark.parametrize("text", ["@#$", "！！！", "的", "不要"])
def test_a_text_that_asks_for_nothing_says_nothing_of_any_and_leaves_none_out(
    api: TestClient, everyone: list[int], text: str
) -> None:
    assert api.post("/search", json={"text": text}).json()["no_match"]
    hits = rerank(api, everyone[::-1], text=text)["hits"]
    assert ids(hits) == everyone
    assert {(hit["score"], hit["confidence"]) for hit in hits} == {(0, None)}


def test_an_image_still_says_something_beside_a_text_that_asks_for_nothing(
    api: TestClient, everyone: list[int]
) -> None:
    hits = rerank(api, everyone, text="！！！", image_base64=base64_of(PHOTOS[2]))["hits"]
    assert ids(hits)[0] == everyone[2]
    assert hits[0]["score"] > 0


def test_only_the_given_products_come(api: TestClient, everyone: list[int]) -> None:
    some = [everyone[4], everyone[1], everyone[5]]
    hits = rerank(api, some, text="下雨天用的伞")["hits"]
    assert sorted(ids(hits)) == sorted(some)
    assert ids(hits)[0] == everyone[5]
    assert [hit["rank"] for hit in hits] == [1, 2, 3]


def test_an_image_puts_its_own_product_first_and_those_without_one_last(
    api: TestClient, everyone: list[int]
) -> None:
    hits = rerank(api, everyone, image_base64=base64_of(PHOTOS[2]))["hits"]
    assert len(hits) == len(everyone)
    assert ids(hits)[0] == everyone[2]
    assert set(ids(hits)[-2:]) == set(everyone[-2:])
    assert [(hit["score"], hit["confidence"]) for hit in hits[-2:]] == [(0, None)] * 2


def test_an_image_may_come_as_a_file(api: TestClient, everyone: list[int]) -> None:
    answer = api.post(
        "/rerank",
        data={"product_ids": json.dumps(everyone), "text": "雨伞"},
        files={"image": ("a.png", PHOTOS[1], "image/png")},
    )
    assert answer.status_code == 200, answer.text
    by_json = rerank(api, everyone, text="雨伞", image_base64=base64_of(PHOTOS[1]))
    assert answer.json()["hits"] == by_json["hits"]


def test_the_order_does_not_depend_on_that_of_the_request(
    api: TestClient, everyone: list[int]
) -> None:
    orders = itertools.islice(itertools.permutations(everyone[:4]), 6)
    answers = [rerank(api, order, text="红色")["hits"] for order in orders]
    assert all(hits == answers[0] for hits in answers)


def test_products_that_are_not_there_are_named(api: TestClient, everyone: list[int]) -> None:
    answer = rerank(api, [GONE + 1, everyone[0], GONE], text="书包")
    assert (answer["missing"], answer["total"]) == ([GONE + 1, GONE], 1)
    assert ids(answer["hits"]) == [everyone[0]]


def test_none_may_be_there(api: TestClient) -> None:
    answer = rerank(api, [GONE], text="书包", image_base64=base64_of(PHOTOS[0]))
    assert (answer["missing"], answer["hits"], answer["total"]) == ([GONE], [], 0)


def test_a_product_that_is_not_indexed_yet_is_missing(api: TestClient, everyone: list[int]) -> None:
    fresh = create(api, wait=True, title="新来的雨伞")
    resources(api).entities.delete([int(fresh["milvus_id"])])
    answer = rerank(api, [fresh["product_id"], everyone[0]], text="雨伞")
    assert (answer["missing"], ids(answer["hits"])) == ([fresh["product_id"]], [everyone[0]])
    assert api.delete(f"/product/{fresh['product_id']}").status_code == 204


def test_products_are_never_encoded_again(api: TestClient, everyone: list[int]) -> None:
    retrieval, real = resources(api).search, resources(api).encoders
    pictures = Images(real.image_text)
    counted = Counted(real.name, real.text, cast(ImageTextEncoder, pictures), real.device)
    watched = replace(retrieval, collections=StandIn(retrieval.collections, counted))
    request = RerankRequest(product_ids=everyone, text="雨伞", image=PHOTOS[0])
    answer = rerank_products(watched, request)
    assert answer.total == len(everyone)
    assert set(counted.texts) == {"雨伞"}
    assert len(pictures.given) == 1


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"product_ids": [1]}, set()),
        ({"product_ids": [], "text": "书包"}, {"product_ids"}),
        ({"product_ids": [1, 1], "text": "书包"}, {"product_ids"}),
        ({"product_ids": list(range(1, 502)), "text": "书包"}, {"product_ids"}),
        ({"product_ids": [0], "text": "书包"}, {"product_ids.0"}),
        ({"product_ids": [1, "a"], "text": "书包"}, {"product_ids.1"}),
        ({"product_ids": [1], "text": " "}, {"text"}),
        ({"text": "书包"}, {"product_ids"}),
        ({"product_ids": [1], "text": "书包", "top_k": 3}, {"top_k"}),
    ],
)
def test_a_bad_request_says_what_is_wrong(
    api: TestClient, body: dict[str, Any], fields: set[str]
) -> None:
    answer = api.post("/rerank", json=body)
    assert code_of(answer) == (422, "invalid_request")
    assert fields_of(answer) == fields


def test_so_many_products_may_be_given(api: TestClient) -> None:
    assert len(rerank(api, range(GONE, GONE + 500), text="书包")["missing"]) == 500


def test_a_damaged_image_is_refused(api: TestClient) -> None:
    answer = api.post("/rerank", json={"product_ids": [1], "image_base64": base64_of(b"no")})
    assert code_of(answer) == (422, "invalid_image")


def test_the_example_works_as_it_is_pasted(api: TestClient) -> None:
    assert set(rerank(api, **examples.RERANK)) >= {"hits", "missing"}
