"""Searches while the index is behind: the rows decide, and what has no row is dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.images.store import content_hash
from product_search.settings import Settings
from tests.api.helpers import base64_of, code_of, create, create_all, ids, listed, resources, search
from tests.unit.pictures import encoded, file_of, noise

GROUPS = ("甲", "乙", "丙", "丁")
Group = list[dict[str, Any]]


def photo(group: str, place: int) -> bytes:
    return encoded(noise((30, 30), 10 * GROUPS.index(group) + place), "PNG")


@pytest.fixture(scope="module")
def frozen(open_settings: Callable[[], Settings]) -> Iterator[tuple[TestClient, dict[str, Group]]]:
    """A service whose index stands still after each group's eight products."""
    with TestClient(create_app(open_settings()), raise_server_exceptions=False) as api:
        rows = [
            {"title": "书包", "category": group, "price": place, "image_base64": base64_of(picture)}
            for group in GROUPS
            for place in range(8)
            for picture in [photo(group, place)]
        ]
        products = create_all(api, rows)
        resources(api).indexing_loop.stop()
        resources(api).settings.wait_timeout_s = 0.05
        yield api, {group: [p for p in products if p["category"] == group] for group in GROUPS}


Frozen = tuple[TestClient, dict[str, Group]]


def path_of(product: dict[str, Any]) -> str:
    return f"/product/{product['product_id']}"


def answer_to(api: TestClient, group: str, **fields: Any) -> dict[str, Any]:
    query = {
        "mode": "text_to_text",
        "text": "书包",
        "filters": {"category": group},
        "min_confidence": 0,
    }
    answer = api.post("/search", json=query | fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_deleted_product_is_dropped_and_counted_before_the_index_knows(frozen: Frozen) -> None:
    api, groups = frozen
    gone, *left = groups["甲"]
    before = resources(api).entities.count()
    assert api.delete(path_of(gone)).status_code == 204
    by_image: dict[str, Any] = {"text": None, "image_base64": base64_of(photo("甲", 0))}
    for query in (
        {"mode": "text_to_text"},
        {"mode": "text_to_image"},
        {"mode": "image_to_image"} | by_image,
        {"mode": "image_to_text"} | by_image,
    ):
        answer = answer_to(api, "甲", **query)
        assert sorted(ids(answer["hits"])) == [product["product_id"] for product in left]
        assert answer["dropped"] == 1
    assert resources(api).entities.count() == before
    assert code_of(api.get(path_of(gone))) == (404, "product_not_found")


def test_while_products_wait_nothing_found_is_no_exact_total(frozen: Frozen) -> None:
    api, _ = frozen
    assert create(api, title="还没有建立索引")["index_status"] == "pending"
    answer = answer_to(api, "没有这个分类")
    assert (answer["no_match"], answer["total"], answer["total_is_exact"]) == (True, 0, False)


def test_a_page_is_full_although_many_hits_have_lost_their_row(frozen: Frozen) -> None:
    api, groups = frozen
    for product in groups["乙"][:6]:
        assert api.delete(path_of(product)).status_code == 204
    assert len(answer_to(api, "乙", top_k=2)["hits"]) == 2


def test_a_changed_product_never_passes_its_old_filter(frozen: Frozen) -> None:
    api, groups = frozen
    changed = groups["丙"][3]
    before = ids(answer_to(api, "丙")["hits"])
    assert api.patch(path_of(changed), json={"category": "新", "price": "500"}).status_code == 200
    after = ids(answer_to(api, "丙")["hits"])
    assert after == [product_id for product_id in before if product_id != changed["product_id"]]
    hits = search(api, "text_to_text", text="书包", top_k=100, filters={"price": {"lte": 499}})
    assert changed["product_id"] not in ids(hits)
    shown = api.get(path_of(changed)).json()
    assert (shown["category"], shown["index_status"]) == ("新", "pending")


def test_a_removed_image_is_out_of_the_image_legs_at_once(frozen: Frozen) -> None:
    api, groups = frozen
    plain = groups["丁"][2]
    assert api.patch(path_of(plain), json={"image_base64": None}).status_code == 200
    by_image: dict[str, Any] = {"text": None, "image_base64": base64_of(photo("丁", 2))}
    answer = answer_to(api, "丁", mode="image_to_image", **by_image)
    assert plain["product_id"] not in ids(answer["hits"])
    assert plain["product_id"] in ids(answer_to(api, "丁")["hits"])


def test_a_wait_that_ends_before_the_indexing_answers_with_pending(frozen: Frozen) -> None:
    api, _ = frozen
    made = create(api, wait=True, title="等不到的商品")
    assert made["index_status"] == "pending"
    assert listed(api, index_status="pending", q="等不到的商品")["items"] == [made]
    assert api.get("/health").json()["outbox"]["pending"] >= 1


@pytest.fixture(scope="module")
def restarted(open_settings: Callable[[], Settings]) -> Iterator[tuple[TestClient, list[int]]]:
    """A service that was stopped before anything was indexed, and started again.

    Its products: one deleted, one whose image's file is lost, one as it should be.
    """
    settings = open_settings().model_copy(update={"index_max_attempts": 1})
    with TestClient(create_app(settings)) as api:
        resources(api).indexing_loop.stop()
        made = [create(api, title=title)["product_id"] for title in ("删掉的", "完好的雨伞")]
        assert api.delete(f"/product/{made[0]}").status_code == 204
        made.append(create(api, title="丢图", image_base64=base64_of(photo("甲", 0)))["product_id"])
        image_hash = content_hash(photo("甲", 0))
        file_of(resources(api).images, image_hash).unlink()
    with TestClient(create_app(settings)) as api:
        create(api, wait=True, title="最后一个")
        yield api, made


def test_what_waited_is_indexed_by_the_next_start(restarted: tuple[TestClient, list[int]]) -> None:
    api, (gone, whole, _) = restarted
    assert listed(api, index_status="pending")["total"] == 0
    assert resources(api).entities.count() == 3
    found = ids(search(api, "text_to_text", text="完好的雨伞"))
    assert found[0] == whole
    assert gone not in found


def test_an_image_whose_file_is_lost_is_said_in_the_products_status(
    restarted: tuple[TestClient, list[int]],
) -> None:
    api, (_, _, lost) = restarted
    shown = api.get(f"/product/{lost}").json()
    assert shown["index_status"] == "failed"
    assert shown["index_error"]
    health = api.get("/health").json()
    assert (health["status"], health["outbox"]["failed"]) == ("degraded", 1)
    assert ids(search(api, "text_to_text", text="丢图", top_k=1)) == [lost]
    query = {"mode": "image_to_image", "product_id": lost}
    assert code_of(api.post("/search", json=query)) == (404, "image_not_found")
    fixed = {"image_base64": base64_of(photo("甲", 1))}
    answer = api.patch(f"/product/{lost}?wait=true", json=fixed)
    assert answer.json()["index_status"] == "indexed"
    assert api.get("/health").json()["status"] == "ok"
