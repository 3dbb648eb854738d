"""Pictures by URL, wherever a picture is taken: off by default, the same as uploaded where on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from main import create_app
from product_search.api import errors, fetches
from product_search.api.dependencies import Service
from product_search.api.incoming import BodyLimits, IncomingBodies, memory_of
from product_search.fetching.fetcher import Fetcher, FetchLimits
from product_search.settings import Settings
from tests.api.helpers import base64_of, code_of, create, create_all, fields_of, ids, search
from tests.api.serving import sent, serving
from tests.clock import until
from tests.hostile_server import (
    NAME,
    HostileServer,
    fetcher_of,
    hostile_server,
    ok,
    redirect,
    silence,
)
from tests.unit.pictures import encoded, noise

PHOTOS = [encoded(noise((60, 40), seed), "PNG") for seed in range(3)]
PATIENT = FetchLimits(pause_s=600.0, whole_s=600.0)
# Every request that takes a picture, by a URL to be filled in.
ROUTES: list[tuple[str, str, Callable[[str], dict[str, Any]]]] = [
    ("POST", "/product", lambda url: {"title": "书包", "image_url": url}),
    ("PATCH", "/product/1", lambda url: {"image_url": url}),
    ("POST", "/search", lambda url: {"image_url": url}),
    ("POST", "/search", lambda url: {"text": "书包", "parts": [{"image_url": url}]}),
    ("POST", "/rerank", lambda url: {"product_ids": [1], "image_url": url}),
    ("POST", "/match", lambda url: {"image": {"image_url": url}, "texts": [{"text": "书包"}]}),
    ("POST", "/match", lambda url: {"text": {"text": "书包"}, "images": [{"image_url": url}]}),
    ("POST", "/product/titles", lambda url: {"image_url": url}),
]
FORMS = [("POST", "/product"), ("PATCH", "/product/1"), ("POST", "/search")]


@pytest.fixture(scope="module")
def shop() -> Iterator[HostileServer]:
    with hostile_server() as server:
        server.answers |= {f"/{n}": ok(photo) for n, photo in enumerate(PHOTOS)}
        server.answers["/page"] = ok(b"<html></html>", "Content-Type: text/html")
        server.answers["/text"] = ok(b"no picture", "Content-Type: image/png")
        server.answers["/inside"] = redirect(server.url("/", host="169.254.169.254"))
        server.answers["/hangs"] = silence
        yield server


@pytest.fixture(scope="module", autouse=True)
def catalog(api: TestClient) -> list[dict[str, Any]]:
    rows = [{"title": f"书包 {n}", "image_base64": base64_of(one)} for n, one in enumerate(PHOTOS)]
    return create_all(api, rows)


def fetch_by(app: FastAPI, fetcher: Fetcher) -> None:
    """Let the running service fetch by this."""
    service: Service = app.state.service
    resources = replace(service.resources, fetcher=fetcher)
    app.state.service = replace(service, resources=resources)


@pytest.fixture
def fetching(api: TestClient, shop: HostileServer) -> Iterator[TestClient]:
    """The service with the setting on, for which the shop is on the internet."""
    app = cast(FastAPI, api.app)
    before = app.state.service
    fetch_by(app, fetcher_of(shop, limits=PATIENT, also=["169.254.169.254"]))
    yield api
    app.state.service = before


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_it_is_off_by_default_and_names_its_setting(
    api: TestClient, method: str, path: str, body: Callable[[str], dict[str, Any]]
) -> None:
    answer = api.request(method, path, json=body("http://shop.test/a.jpg"))
    assert code_of(answer) == (422, "image_url_disabled")
    assert "PRODUCT_SEARCH_FETCH_IMAGES" in answer.json()["message"]
    (place,) = fields_of(answer)
    assert place.endswith("image_url")


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_what_is_not_public_is_refused_and_no_address_told(
    fetching: TestClient,
    shop: HostileServer,
    method: str,
    path: str,
    body: Callable[[str], dict[str, Any]],
) -> None:
    for url in (shop.url("/inside"), shop.url("/", host=f"nowhere.{NAME}")):
        answer = fetching.request(method, path, json=body(url))
        assert code_of(answer) == (422, "image_url_refused")
        assert "169.254" not in answer.text
        assert "没有公网地址" in answer.json()["message"]


def test_a_product_has_the_picture_that_was_fetched(
    fetching: TestClient, shop: HostileServer
) -> None:
    made = create(fetching, title="取来的", image_url=shop.url("/0"))
    assert fetching.get(made["image_url"]).content == PHOTOS[0]
    path = f"/product/{made['product_id']}"
    answer = fetching.patch(path, json={"title": "换过的", "image_url": shop.url("/1")})
    assert (answer.status_code, answer.json()["title"]) == (200, "换过的")
    assert fetching.get(made["image_url"]).content == PHOTOS[1]
    answer = fetching.patch(path, files={"image_url": (None, shop.url("/2"))})
    assert answer.status_code == 200, answer.text
    assert fetching.get(made["image_url"]).content == PHOTOS[2]
    assert fetching.delete(path).status_code == 204


def test_a_form_may_name_a_url(fetching: TestClient, shop: HostileServer) -> None:
    for path in ("/search", "/product/titles"):
        answer = fetching.post(path, files={"image_url": (None, shop.url("/1"))})
        assert answer.status_code == 200, answer.text
    made = fetching.post(
        "/product", files={"title": (None, "表单"), "image_url": (None, shop.url("/1"))}
    )
    assert made.status_code == 201, made.text
    assert fetching.get(made.json()["image_url"]).content == PHOTOS[1]
    assert fetching.delete(f"/product/{made.json()['product_id']}").status_code == 204


@pytest.mark.parametrize("place", range(3))
def test_searches_answer_as_to_the_uploaded_picture(
    fetching: TestClient, shop: HostileServer, catalog: list[dict[str, Any]], place: int
) -> None:
    url, uploaded = shop.url(f"/{place}"), base64_of(PHOTOS[place])
    for mode in ("image_to_image", "image_to_text", "hybrid"):
        hits = search(fetching, mode, image_url=url)
        assert ids(hits) == ids(search(fetching, mode, image_base64=uploaded))
    assert ids(search(fetching, "image_to_image", image_url=url))[0] == catalog[place]["product_id"]
    parts = [{"image_url": url}, {"text": "雨伞", "weight": -0.5}]
    of_upload = [{"image_base64": uploaded}, parts[1]]
    hits = search(fetching, "hybrid", parts=parts)
    assert ids(hits) == ids(search(fetching, "hybrid", parts=of_upload))
    region, mode = [0, 0, 20, 20], "image_to_image"
    hits = search(fetching, mode, region=region, image_url=url)
    assert ids(hits) == ids(search(fetching, mode, region=region, image_base64=uploaded))


def test_other_routes_answer_as_to_the_uploaded_picture(
    fetching: TestClient, shop: HostileServer, catalog: list[dict[str, Any]]
) -> None:
    by_url, uploaded = {"image_url": shop.url("/1")}, {"image_base64": base64_of(PHOTOS[1])}
    products = [one["product_id"] for one in catalog]
    texts = [{"text": "书包"}, {"text": "雨伞"}]
    for path, of in (
        ("/rerank", lambda image: {"product_ids": products, **image}),
        ("/product/titles", lambda image: {"top_k": 3, **image}),
        ("/match", lambda image: {"image": image, "texts": texts}),
        ("/match", lambda image: {"text": texts[0], "images": [{"product_id": 1}, image]}),
    ):
        answers = [fetching.post(path, json=of(image)) for image in (by_url, uploaded)]
        assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
        first, second = ({**one.json(), "took_ms": None} for one in answers)
        assert first == second


def test_each_query_of_a_batch_has_its_own_picture_or_error(
    fetching: TestClient, shop: HostileServer
) -> None:
    queries: list[dict[str, Any]] = [
        {"mode": "image_to_image", "image_url": shop.url("/0"), "top_k": 1},
        {"image_url": shop.url("/page")},
        {"text": "书包", "top_k": 1},
        {"image_url": "http://127.0.0.1/"},
        {"parts": [{"image_url": shop.url("/1")}, {"image_url": "file:///etc/passwd"}]},
        {"mode": "image_to_image", "image_url": shop.url("/2"), "top_k": 1},
    ]
    results = fetching.post("/search/batch", json={"queries": queries}).json()["results"]
    codes = [one.get("code") for one in results]
    refused = "image_url_refused"
    assert codes == [None, "invalid_image", None, refused, refused, None]
    assert set(results[4]["fields"]) == {"parts.1.image_url"}
    alone = [search(fetching, **query) for query in (queries[0], queries[5])]
    assert [ids(results[n]["hits"]) for n in (0, 5)] == [ids(hits) for hits in alone]


def test_a_batch_while_it_is_off_has_errors_for_its_urls_alone(api: TestClient) -> None:
    queries = [{"image_url": "http://shop.test/"}, {"text": "书包"}]
    results = api.post("/search/batch", json={"queries": queries}).json()["results"]
    assert [one.get("code") for one in results] == ["image_url_disabled", None]


def test_what_is_no_picture_is_told(fetching: TestClient, shop: HostileServer) -> None:
    for path in ("/page", "/text"):
        answer = fetching.post("/product", json={"title": "x", "image_url": shop.url(path)})
        assert code_of(answer) == (422, "invalid_image")
    page = fetching.post("/search", json={"image_url": shop.url("/page")})
    assert "网页" in page.json()["message"]
    images = [{"image_url": shop.url("/0")}, {"image_url": shop.url("/page")}]
    answer = fetching.post("/match", json={"text": {"text": "书包"}, "images": images})
    assert code_of(answer) == (422, "invalid_image")
    assert fields_of(answer) == {"images.1.image_url"}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/product", {"title": "x", "image_base64": "AA=="}),
        ("/product", {"title": "x", "image_base64": None}),
        ("/product", {"title": "x", "generation": {"generation_id": 1}}),
        ("/search", {"image_base64": "AA=="}),
        ("/search", {"generation": {"generation_id": 1}}),
        ("/search", {"mode": "image_to_image", "product_id": 1}),
        ("/search", {"mode": "text_to_text", "text": "x"}),
        ("/search", {"mode": "text_to_image", "text": "x"}),
        ("/rerank", {"product_ids": [1], "image_base64": "AA=="}),
        ("/product/titles", {"image_base64": "AA=="}),
        ("/product/titles", {"product_id": 1}),
    ],
)
def test_a_picture_is_given_in_one_way(
    fetching: TestClient, shop: HostileServer, path: str, fields: dict[str, Any]
) -> None:
    begun = len(shop.requests)
    answer = fetching.post(path, json=fields | {"image_url": shop.url("/0")})
    assert code_of(answer) == (422, "invalid_request")
    assert len(shop.requests) == begun


@pytest.mark.parametrize(("method", "path"), FORMS)
def test_a_form_has_a_file_or_a_url(api: TestClient, method: str, path: str) -> None:
    files: dict[str, Any] = {
        "image": ("a.png", PHOTOS[0], "image/png"),
        "image_url": (None, "http://shop.test/"),
    }
    answer = api.request(method, path, files=files)
    assert code_of(answer) == (422, "invalid_request")
    assert fields_of(answer) == {"image"}


@pytest.mark.parametrize("image", [{}, {"product_id": 1}, {"image_base64": "AA=="}])
def test_a_part_or_image_of_several_is_given_in_one_way(
    api: TestClient, image: dict[str, Any]
) -> None:
    both = {**image, "image_url": "http://shop.test/"} if image else {"image_url": ""}
    for path, body in (
        ("/search", {"parts": [both]}),
        ("/match", {"image": both, "texts": [{"text": "x"}]}),
    ):
        assert code_of(api.post(path, json=body)) == (422, "invalid_request")


def test_bytes_are_no_field_of_json(api: TestClient) -> None:
    for body in ({"parts": [{"image": "AA=="}]}, {"parts": [{"text": "x", "image": None}]}):
        assert code_of(api.post("/search", json=body)) == (422, "invalid_request")


def test_a_url_can_t_remove_a_picture(api: TestClient) -> None:
    answer = api.patch("/product/1", json={"image_url": None})
    assert code_of(answer) == (422, "invalid_request")
    assert api.get("/product/1").json()["image_url"] is not None


def test_pictures_of_one_request_are_bounded_together(
    fetching: TestClient, shop: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetches, "MAX_FETCHED", 2 * len(PHOTOS[0]))
    images = [{"image_url": shop.url("/0")}] * 2
    body = {"text": {"text": "书包"}, "images": images}
    assert fetching.post("/match", json=body).status_code == 200
    answer = fetching.post("/match", json={**body, "images": images * 2})
    assert code_of(answer) == (413, "payload_too_large")


def test_all_pictures_of_a_request_have_one_end(
    fetching: TestClient, shop: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetches, "_ALL_S", 0.5)
    images = [{"image_url": shop.url("/hangs")}, {"product_id": 1}]
    answer = fetching.post("/match", json={"text": {"text": "书包"}, "images": images})
    assert code_of(answer) == (424, "image_fetch_timeout")


def test_what_is_fetched_counts_into_the_memory_of_bodies() -> None:
    app = FastAPI()
    app.add_middleware(IncomingBodies, limits=BodyLimits(held=1000, room_s=0.1))
    errors.install(app)

    @app.get("/take/{size}")
    async def take(request: Request, size: int) -> None:
        await memory_of(request)(size)

    with TestClient(app) as client:
        for size, status in ((1000, 200), (1001, 429), (600, 200), (600, 200)):
            assert client.get(f"/take/{size}").status_code == status


def test_a_fetch_takes_memory_and_gives_it_back(
    fetching: TestClient, shop: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    def counted(request: Request) -> Any:
        take = memory_of(request)

        async def count(size: int) -> None:
            taken.append(size)
            await take(size)

        return count

    monkeypatch.setattr(fetches, "memory_of", counted)
    assert fetching.post("/search", json={"image_url": shop.url("/0")}).status_code == 200
    assert sum(taken) == len(PHOTOS[0])


@pytest.fixture(scope="module")
def switched_on(open_settings: Callable[[], Settings]) -> Iterator[tuple[FastAPI, int]]:
    """A service whose settings allow shop.test and this machine, and its port."""
    listed = {"fetch_images": True, "fetch_hosts": [NAME, "127.0.0.1"]}
    app = create_app(open_settings().model_copy(update=listed))
    with serving(app) as port:
        yield app, port


@pytest.fixture
def served(switched_on: tuple[FastAPI, int], shop: HostileServer) -> Iterator[int]:
    app, port = switched_on
    before = app.state.service
    fetch_by(app, fetcher_of(shop, limits=replace(PATIENT, at_once=2)))
    yield port
    app.state.service = before


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/", "没有公网地址"),
        ("http://elsewhere.test/", "PRODUCT_SEARCH_FETCH_HOSTS"),
        (f"http://{NAME}:8080/", "PRODUCT_SEARCH_FETCH_HOSTS"),
    ],
)
def test_the_settings_switch_it_on_and_open_nothing_inside(
    switched_on: tuple[FastAPI, int], url: str, reason: str
) -> None:
    _, port = switched_on
    answer = httpx.post(f"http://127.0.0.1:{port}/search", json={"image_url": url})
    assert code_of(answer) == (422, "image_url_refused")
    assert reason in answer.json()["message"]


def test_a_fetch_ends_when_its_client_leaves(served: int, shop: HostileServer) -> None:
    asked, closed = len(shop.requests), shop.closed
    with sent(served, json.dumps({"image_url": shop.url("/hangs")})):
        until(lambda: len(shop.requests) > asked, "the request for the picture")
        assert shop.closed == closed
    until(lambda: shop.closed > closed, "the end of the fetch")


def test_texts_are_searched_while_pictures_hang(served: int, shop: HostileServer) -> None:
    asked, closed = len(shop.requests), shop.closed
    hanging = json.dumps({"image_url": shop.url("/hangs")})
    with sent(served, hanging), sent(served, hanging), sent(served, hanging):
        until(lambda: len(shop.requests) == asked + 2, "the requests for pictures")
        answer = httpx.post(f"http://127.0.0.1:{served}/search", json={"text": "书包"})
        assert answer.status_code == 200, answer.text
        assert shop.closed == closed
    until(lambda: shop.closed == closed + 2, "the end of the fetches")
