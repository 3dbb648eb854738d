"""Variants of a product: a search shows the best of each group, and counts groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings, strategies as st

from product_search.search.recall import HybridDepth
from tests.api import paging
from tests.api.helpers import base64_of, code_of, create, create_all, ids, listed
from tests.unit.pictures import encoded, noise

TEXT = "亚麻衬衫"
SIZES = ("S", "M", "L", "XL")
MODELS = 15
ALONE = 3
UNITS = MODELS + ALONE
MODES = ("hybrid", "text_to_text", "text_to_image", "image_to_image", "image_to_text")
SORTS = ("relevance", "price_asc", "price_desc", "newest")
IMAGE = base64_of(encoded(noise((20, 20)), "PNG"))


def shirt(model: int, size: str, **fields: Any) -> dict[str, Any]:
    return {
        "title": f"{TEXT} {model} 号 {size} 码",
        "group": f"衬衫 {model}",
        "category": "上衣",
        "price": 100 - model + SIZES.index(size),
        "attributes": {"尺码": size, "领型": "立领" if model % 2 else "翻领"},
        "image_base64": IMAGE,
    } | fields


@pytest.fixture(scope="module", autouse=True)
def catalog(api: TestClient) -> list[dict[str, Any]]:
    """Fifteen shirts in four sizes each, and three that come in one."""
    rows = [shirt(model, size) for model in range(MODELS) for size in SIZES]
    alone = {"title": f"{TEXT} 均码", "category": "上衣", "price": 50, "image_base64": IMAGE}
    return create_all(api, [*rows, *[alone] * ALONE])


@pytest.fixture(scope="module", autouse=True)
def depth() -> Iterator[None]:
    """Legs of which one depth holds a few shirts alone, in all their sizes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HybridDepth, "FIRST", 8)
        patch.setattr(HybridDepth, "FURTHER", 24)
        patch.setattr(HybridDepth, "FURTHEST", 100)
        yield


def fields_of(mode: str) -> dict[str, Any]:
    return {"mode": mode} | ({"image_base64": IMAGE} if mode[0] == "i" else {"text": TEXT})


def ask(api: TestClient, mode: str = "hybrid", **fields: Any) -> dict[str, Any]:
    return paging.ask(api, **fields_of(mode) | fields)


def units_of(body: dict[str, Any]) -> list[Any]:
    """What each hit stands for: its group, or its own id."""
    products = [hit["product"] for hit in body["hits"]]
    return [one["group"] or one["product_id"] for one in products]


@pytest.mark.parametrize("mode", MODES)
def test_a_page_is_full_of_different_products(api: TestClient, mode: str) -> None:
    body = ask(api, mode, top_k=10)
    units = units_of(body)
    assert len(units) == len(set(units)) == 10
    assert body["next_cursor"]


@pytest.mark.parametrize("mode", MODES)
def test_the_whole_answer_counts_groups(api: TestClient, mode: str) -> None:
    body = ask(api, mode, top_k=100)
    assert (len(body["hits"]), body["total"], body["total_is_exact"]) == (UNITS, UNITS, True)
    more = {hit["product"]["group"]: hit["more_in_group"] for hit in body["hits"]}
    assert more == {None: 0} | {f"衬衫 {model}": len(SIZES) - 1 for model in range(MODELS)}


@pytest.mark.parametrize("mode", MODES)
def test_each_variant_is_a_hit_of_its_own_where_that_is_asked_for(
    api: TestClient, mode: str, catalog: list[dict[str, Any]]
) -> None:
    every = ask(api, mode, top_k=100, collapse=False)
    assert {hit["more_in_group"] for hit in every["hits"]} == {0}
    found = ids(every["hits"])
    # A hybrid search ends before, as it does where nothing is in groups.
    assert len(found) == len(set(found)) == every["total"]
    assert mode == "hybrid" or sorted(found) == sorted(one["product_id"] for one in catalog)
    first: dict[Any, int] = {}
    for unit, product_id in zip(units_of(every), found, strict=True):
        first.setdefault(unit, product_id)
    best = ask(api, mode, top_k=100)
    assert ids(best["hits"])[: len(first)] == list(first.values())


@settings(max_examples=16, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    step=st.integers(1, 12),
    mode=st.sampled_from(MODES),
    sort=st.sampled_from(SORTS),
    filters=st.sampled_from([{}, {"attributes": {"领型": "立领"}}, {"price": {"gte": 90}}]),
)
def test_pages_put_together_are_the_whole(
    api: TestClient, step: int, mode: str, sort: str, filters: dict[str, Any]
) -> None:
    asked = fields_of(mode) | {"sort": sort, "filters": filters}
    whole = paging.ask(api, top_k=100, **asked)
    units = units_of(whole)
    assert len(units) == len(set(units)) == whole["total"]
    assert paging.by_offset(api, step, **asked) == ids(whole["hits"])
    assert paging.by_cursor(api, step, **asked) == ids(whole["hits"])


@pytest.mark.parametrize(("sort", "size"), [("price_asc", "S"), ("price_desc", "XL")])
def test_a_group_stands_where_its_first_variant_does(api: TestClient, sort: str, size: str) -> None:
    hits = ask(api, top_k=100, sort=sort, filters={"attributes": {"尺码": list(SIZES)}})["hits"]
    assert {hit["product"]["attributes"]["尺码"] for hit in hits} == {size}
    prices = [float(hit["product"]["price"]) for hit in hits]
    assert prices == sorted(prices, reverse=sort == "price_desc")
    assert len(hits) == MODELS


@pytest.mark.parametrize("mode", ["hybrid", "text_to_text"])
def test_facets_say_how_many_hits_there_are_with_a_value(api: TestClient, mode: str) -> None:
    facets = ask(api, mode, facets=True)["facets"]
    assert facets["category"] == [{"value": "上衣", "count": UNITS}]
    attributes = {one["key"]: one["values"] for one in facets["attributes"]}
    assert [one["value"] for one in attributes["尺码"]] == sorted(SIZES)
    for key, values in attributes.items():
        for one in values:
            filters = {"attributes": {key: one["value"]}}
            with_it = ask(api, mode, filters=filters, facets=True)
            assert with_it["total"] == one["count"], (key, one)
    each = ask(api, mode, facets=True, collapse=False)
    assert each["facets"]["category"] == [{"value": "上衣", "count": each["total"]}]
    assert each["total"] > UNITS


def test_a_new_best_variant_brings_no_group_again(api: TestClient) -> None:
    first = ask(api, top_k=6)
    made = [create(api, wait=True, **shirt(model, "S", title=TEXT)) for model in range(MODELS)]
    found = units_of(first)
    body = first
    while body["next_cursor"]:
        body = ask(api, top_k=6, cursor=body["next_cursor"])
        found += units_of(body)
    for product in made:
        assert api.delete(f"/product/{product['product_id']}").status_code == 204
    assert len(found) == len(set(found)) == UNITS


def test_a_cursor_of_groups_is_none_of_single_products(api: TestClient) -> None:
    cursor = ask(api, top_k=3)["next_cursor"]
    asked = fields_of("hybrid") | {"min_confidence": 0, "collapse": False, "cursor": cursor}
    assert code_of(api.post("/search", json=asked)) == (422, "cursor_invalid")


def test_without_filters_groups_are_counted_too(api: TestClient) -> None:
    asked: dict[str, Any] = {"facets": True, "explain": True, "top_k": 100}
    body = ask(api, filters={"attributes": {"尺码": "M"}}, **asked)
    assert body["total"] == MODELS <= body["total_without_filters"] <= UNITS
    known = [rank for hit in body["hits"] if (rank := hit["explain"]["rank_without_filters"])]
    assert len(known) == len(set(known)) > 0
    assert max(known) <= body["total_without_filters"]


def test_the_nearest_are_of_different_groups(api: TestClient) -> None:
    body = ask(api, text="衬衫", min_confidence=1)
    assert body["no_match"]
    units = units_of({"hits": body["near_misses"]})
    assert len(units) == len(set(units)) == 3


def test_a_batch_shows_the_best_of_each_group(api: TestClient) -> None:
    asked = fields_of("hybrid") | {"min_confidence": 0}
    queries = [asked | {"collapse": collapse} for collapse in (True, False)]
    best, every = api.post("/search/batch", json={"queries": queries}).json()["results"]
    assert len(set(units_of(best))) == 10
    assert len(set(units_of(every))) < 10


def test_a_code_among_the_attributes_makes_the_group(api: TestClient) -> None:
    names = ("亚麻衬衫 米白", "牛津衬衫 浅蓝", "法兰绒衬衫 格纹")
    shirts = [
        {"title": f"{name} {size}", "attributes": {"款号": f"VR-{number}", "尺码": size}}
        for number, name in enumerate(names, start=1)
        for size in ("S", "M", "L")
    ]
    made = create_all(api, shirts)
    assert [one["group"] for one in made[:4]] == ["VR-1", "VR-1", "VR-1", "VR-2"]
    wanted = {"attributes": {"款号": ["VR-1", "VR-2", "VR-3"]}}
    asked = {"text": "衬衫", "top_k": 3, "filters": wanted}
    body = api.post("/search", json=asked).json()
    for product in made:
        assert api.delete(f"/product/{product['product_id']}").status_code == 204
    codes = {hit["product"]["attributes"]["款号"] for hit in body["hits"]}
    assert codes == {"VR-1", "VR-2", "VR-3"}
    assert [hit["more_in_group"] for hit in body["hits"]] == [2, 2, 2]
    assert (body["total"], body["next_cursor"]) == (3, None)


@pytest.mark.parametrize("by", ["picture", "title", "both"])
def test_what_is_like_a_product_is_no_variant_of_it(
    api: TestClient, catalog: list[dict[str, Any]], by: str
) -> None:
    shown, alone = catalog[0], catalog[-1]
    given: dict[str, Any] = {"by": by, "top_k": 100}
    if by == "picture":
        given["min_confidence"] = 0
    found = api.get(f"/product/{shown['product_id']}/similar", params=given).json()
    units = units_of(found)
    assert shown["group"] not in units
    assert len(units) == len(set(units)) == UNITS - 1
    beside = api.get(f"/product/{alone['product_id']}/similar", params=given).json()
    assert alone["product_id"] not in ids(beside["hits"])
    assert len(beside["hits"]) == UNITS - 1


def test_a_group_is_listed_and_changed_without_an_embedding(api: TestClient) -> None:
    made = create(api, wait=True, title="手套", brand="拾光", attributes={"款号": "ST-1"})
    other = create(api, title="手套", group="拾光 ST-1")
    assert made["group"] == "拾光 ST-1"
    listed_ids = [one["product_id"] for one in listed(api, group="拾光 ST-1")["items"]]
    assert sorted(listed_ids) == [made["product_id"], other["product_id"]]
    assert listed(api, group="拾光")["items"] == []

    def changed(**fields: Any) -> Any:
        return api.patch(f"/product/{made['product_id']}", json=fields).json()

    assert changed(brand="甲")["group"] == "甲 ST-1"
    assert changed(attributes={"款号": "ST-2"})["group"] == "甲 ST-2"
    given = changed(group="ST")
    assert (given["group"], changed(brand="乙")["group"]) == ("ST", "ST")
    taken = changed(group=None)
    assert (taken["group"], taken["revision"]) == (None, given["revision"] + 1)  # of the brand
    assert changed(attributes={"款号": "ST-3"})["group"] is None


@pytest.mark.parametrize("group", ["", " ", "长" * 101, 1, ["a"]], ids=repr)
def test_a_group_is_a_label(api: TestClient, group: object) -> None:
    answer = api.post("/product", json={"title": "手套", "group": group})
    assert code_of(answer) == (422, "invalid_request")
