"""POST /search/batch: many queries at once, each with its own answer or error."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import pytest
from fastapi.testclient import TestClient

from product_search.errors import DatabaseUnavailable, VectorStoreUnavailable
from product_search.schemas import examples
from tests.api.helpers import base64_of, code_of, create_all, fields_of, resources
from tests.unit.pictures import encoded, noise

TITLES = ["红色双肩包", "女士运动鞋", "红富士苹果", "保温杯", "蓝牙耳机", "儿童雨伞"]
PHOTO = base64_of(encoded(noise((80, 60), 1), "PNG"))
GOOD: list[dict[str, Any]] = [
    {"text": "雨伞"},
    {"mode": "text_to_text", "text": "书包", "top_k": 2},
    {"mode": "text_to_image", "text": "苹果", "min_confidence": 0},
    {"image_base64": PHOTO, "explain": True},
    {"product_id": 1, "filters": {"price": {"lte": 100}}},
    {"parts": [{"text": "鞋"}, {"text": "红色", "weight": -0.5}], "facets": True},
    {"text": "雨伞"},
]
BAD: list[tuple[Any, str]] = [
    ({"text": ""}, "invalid_request"),
    ({"text": "书包", "colour": "red"}, "invalid_request"),
    ("书包", "invalid_request"),
    (None, "invalid_request"),
    ({}, "invalid_request"),
    ({"product_id": 999}, "product_not_found"),
    ({"image_base64": "!"}, "invalid_image"),
    ({"image_base64": base64_of(b"no picture")}, "invalid_image"),
    ({"text": "书包", "cursor": "x"}, "cursor_invalid"),
    ({"text": "书包", "legs": {"image_to_image": 1}}, "invalid_request"),
    ({"image_base64": PHOTO, "region": [0, 0, 999, 999]}, "region_outside_image"),
]


@pytest.fixture(scope="module", autouse=True)
def catalog(api: TestClient) -> list[dict[str, Any]]:
    return create_all(
        api,
        [
            {
                "title": title,
                "price": 50 * place,
                "image_base64": base64_of(encoded(noise((80, 60), place), "PNG")),
            }
            for place, title in enumerate(TITLES)
        ],
    )


def results_of(api: TestClient, queries: list[Any]) -> list[dict[str, Any]]:
    answer = api.post("/search/batch", json={"queries": queries})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    assert len(results) == len(queries)
    return results


def comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what differs from one time to the next."""
    return {k: v for k, v in answer.items() if k not in {"took_ms", "next_cursor"}}


def approximately(value: Any, to: float = 1e-5) -> Any:
    """The same, numbers to 1e-5; confidence, which comes in four digits, to the last of them."""
    if isinstance(value, dict):
        return {
            key: approximately(one, 1.01e-4 if key == "confidence" else to)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [approximately(one) for one in value]
    return pytest.approx(value, abs=to) if isinstance(value, float) else value


def test_each_answer_is_that_of_the_search_alone(api: TestClient) -> None:
    for query, result in zip(GOOD, results_of(api, GOOD), strict=True):
        alone = api.post("/search", json=query)
        assert alone.status_code == 200, alone.text
        assert comparable(result) == approximately(comparable(alone.json()))


def test_a_bad_query_has_its_error_and_the_others_their_answers(api: TestClient) -> None:
    queries = [one for bad, _ in BAD for one in (GOOD[0], bad)]
    results = results_of(api, queries)
    for (bad, code), result in zip(BAD, results[1::2], strict=True):
        assert result["code"] == code, (bad, result)
        assert {"code", "message"} <= set(result) <= {"code", "message", "fields"}
    (alone,) = results_of(api, [GOOD[0]])
    assert all(result["hits"] == approximately(alone["hits"]) for result in results[::2])


def test_an_error_is_the_one_that_the_search_alone_has(api: TestClient) -> None:
    for (bad, _), result in zip(BAD, results_of(api, [bad for bad, _ in BAD]), strict=True):
        alone = api.post(
            "/search", content=json.dumps(bad), headers={"content-type": "application/json"}
        )
        assert alone.json() == result


def test_all_queries_may_be_bad(api: TestClient) -> None:
    assert [one["code"] for one in results_of(api, [{}, {"product_id": 999}])] == [
        "invalid_request",
        "product_not_found",
    ]


def test_a_cursor_of_a_batch_goes_on_in_a_batch_and_alone(api: TestClient) -> None:
    query = {"mode": "text_to_text", "text": "书包", "top_k": 2, "min_confidence": 0}
    (first,) = results_of(api, [query])
    more = query | {"cursor": first["next_cursor"]}
    (second,) = results_of(api, [more])
    assert second["hits"] == api.post("/search", json=more).json()["hits"]
    assert second["hits"][0]["rank"] == 3


def test_so_many_queries_and_no_more(api: TestClient) -> None:
    assert len(results_of(api, [GOOD[0]] * 64)) == 64
    for queries in ([], [GOOD[0]] * 65):
        answer = api.post("/search/batch", json={"queries": queries})
        assert code_of(answer) == (422, "invalid_request")
        assert fields_of(answer) == {"queries"}


def codes_of(results: list[dict[str, Any]]) -> list[str | None]:
    """The code of each that is an error."""
    return [one.get("code") for one in results]


def test_a_query_whose_images_have_no_room_is_refused_and_the_others_are_answered(
    api: TestClient,
) -> None:
    many, few = {"parts": [{"product_id": 1}] * 13}, {"parts": [{"product_id": 1}] * 12}
    results = results_of(api, [many, many, many, many, many, few, GOOD[0]])
    assert codes_of(results) == [None] * 4 + ["payload_too_large", None, None]
    assert results[0]["hits"] == approximately(api.post("/search", json=many).json()["hits"])


def test_a_query_whose_texts_have_no_room_is_refused_and_the_others_are_answered(
    api: TestClient,
) -> None:
    full = [{"parts": [{"text": f"{one}" * 512} for one in "红黄蓝绿"]} for _ in range(4)]
    beside = [{"text": "书包"}, {"product_id": 1}, {"image_base64": PHOTO}]
    results = results_of(api, [*full, *beside])
    assert codes_of(results) == [None] * 4 + ["payload_too_large", None, None]
    assert codes_of(results_of(api, [{}, *full[1:], *beside])) == ["invalid_request"] + [None] * 6


def test_the_longest_query_alone_has_room(api: TestClient) -> None:
    parts = [{"text": "红" * 127 + f"{place:x}"} for place in range(16)]
    (answer,) = results_of(api, [{"text": "蓝" * 512, "parts": parts}])
    assert "hits" in answer


@pytest.mark.parametrize("body", ["[]", "1", '{"queries": 1}', '{"queries": {}}', "{}"])
def test_a_body_of_another_shape_is_refused(api: TestClient, body: str) -> None:
    answer = api.post("/search/batch", content=body, headers={"content-type": "application/json"})
    assert code_of(answer) == (422, "invalid_request")


def test_no_file_may_come(api: TestClient) -> None:
    answer = api.post("/search/batch", files={"image": ("a.png", b"x", "image/png")})
    assert code_of(answer) == (415, "unsupported_media_type")


def test_the_example_works_as_it_is_pasted(api: TestClient) -> None:
    assert all("hits" in one for one in results_of(api, examples.BATCH["queries"]))


def test_without_a_store_no_query_is_answered(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: Exception) -> Any:
        def method(*_arguments: object, **_named: object) -> NoReturn:
            raise error

        return method

    queries = {"queries": [GOOD[0], {}]}
    with monkeypatch.context() as patched:
        patched.setattr(
            type(resources(api).database), "read", fail(DatabaseUnavailable("数据库暂时不可用"))
        )
        answer = api.post("/search/batch", json=queries)
        assert code_of(answer) == (503, "database_unavailable")
    with monkeypatch.context() as patched:
        patched.setattr(
            type(resources(api).entities),
            "search_all",
            fail(VectorStoreUnavailable("向量库暂时不可用")),
        )
        answer = api.post("/search/batch", json=queries)
        assert code_of(answer) == (503, "vector_store_unavailable")
