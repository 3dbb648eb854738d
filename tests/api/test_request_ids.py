"""A request's id: at the door, in the threads that work for it, and in the lines of the log."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import anyio.to_thread
import pytest
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.testclient import TestClient

from main import create_app
from product_search.api import errors
from product_search.api.openapi import App
from product_search.api.threads import RequestThreads
from product_search.batching import Batcher, gather
from product_search.context import current_request_id, join_request_ids
from product_search.indexing.indexer import Indexer
from product_search.settings import Settings
from tests.api.helpers import base64_of, create, resources
from tests.log_lines import kept_lines
from tests.unit.pictures import encoded, file_of, noise

log = logging.getLogger("product_search.test")
HEADER = "X-Request-ID"


@pytest.fixture(scope="module")
def small() -> Iterator[TestClient]:
    """An application whose routes answer with the ids that each kind of thread sees."""
    app, threads = App(), RequestThreads(2)
    batcher: Batcher[int, str | None] = Batcher("ids", _ids_of, max_cost=8, max_waiting=8)
    errors.install(app)

    @app.get("/ids")
    async def ids(request: Request) -> list[str | None]:
        return [
            current_request_id.get(),
            await threads.run(request, current_request_id.get),
            await run_in_threadpool(current_request_id.get),
            await anyio.to_thread.run_sync(current_request_id.get),
            await threads.run(request, lambda: gather(batcher.submit([1]))[0]),
        ]

    @app.get("/plain")
    def plain() -> list[str | None]:
        return [current_request_id.get()]

    @app.get("/broken")
    def broken() -> None:
        log.warning("soon")
        raise RuntimeError("a bug")

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def _ids_of(items: Sequence[int]) -> list[str | None]:
    return [current_request_id.get() for _ in items]


@pytest.mark.parametrize("given", ["a", "A-1_b.2", "x" * 64, "5f0c1c8e-6f3a-4a53-b0b6"])
def test_a_sane_id_is_taken_and_answered(small: TestClient, given: str) -> None:
    answer = small.get("/plain", headers={HEADER: given})
    assert answer.json() == [given]
    assert answer.headers.get_list(HEADER) == [given]


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "a;b", "a,b", "é", "<b>", "a/b"])
def test_any_other_is_replaced(small: TestClient, given: str) -> None:
    headers = [(HEADER.encode(), given.encode("latin-1"))]
    answer = small.get("/plain", headers=headers)
    (made,) = answer.json()
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert answer.headers[HEADER] == made


def test_each_request_without_one_has_its_own(small: TestClient) -> None:
    made = {small.get("/plain").headers[HEADER] for _ in range(3)}
    assert len(made) == 3
    assert current_request_id.get() is None


@pytest.mark.parametrize("path", ["/ids", "/plain"])
def test_every_thread_that_works_for_a_request_knows_its_id(small: TestClient, path: str) -> None:
    assert set(small.get(path, headers={HEADER: "a-1"}).json()) == {"a-1"}


def test_a_bug_is_answered_and_logged_with_the_id(small: TestClient) -> None:
    with kept_lines() as lines:
        answer = small.get("/broken", headers={HEADER: "a-1"})
    assert answer.status_code == 500
    assert set(answer.json()) == {"code", "message"}
    assert "a-1" in answer.json()["message"]
    assert answer.headers[HEADER] == "a-1"
    ours = [one for one in lines if one["logger"].startswith("product_search")]
    assert [one["event"] for one in ours] == ["soon", "GET /broken failed"]
    assert {one["request_id"] for one in ours} == {"a-1"}
    assert "a bug" in ours[1]["exception"]


def test_work_for_several_requests_names_each_but_not_endlessly_many() -> None:
    assert join_request_ids([None, None]) is None
    assert join_request_ids(["a", None, "b", "a"]) == "a,b"
    assert join_request_ids(map(str, range(20))) == "0,1,2,3,4,5,6,7,…"


@pytest.fixture(scope="module")
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service in which nothing is indexed by itself."""
    with TestClient(create_app(open_settings()), raise_server_exceptions=False) as client:
        resources(client).indexing_loop.stop()
        yield client


@pytest.mark.parametrize("path", ["/product/999", "/nowhere", "/product/x", "/health/live"])
def test_every_answer_of_the_service_bears_the_id(api: TestClient, path: str) -> None:
    assert api.get(path, headers={HEADER: "a-1"}).headers.get_list(HEADER) == ["a-1"]


def index(api: TestClient) -> list[dict[str, Any]]:
    """What is logged while all that waits is indexed, as a worker does it."""
    held = resources(api)
    with kept_lines() as lines:
        Indexer(held.database, held.images, held.collections).apply_oldest(10)
    return [one for one in lines if one["logger"].startswith("product_search.indexing")]


def test_lines_about_an_event_bear_the_id_of_the_request_that_wrote_it(api: TestClient) -> None:
    images, ids = resources(api).images, {}
    for seed, request_id in enumerate(("a-1", "b-2")):
        photo = encoded(noise((16, 16), seed), "PNG")
        api.headers[HEADER] = request_id
        product = create(api, image_base64=base64_of(photo))
        ids[product["product_id"]] = request_id
        file_of(images, images.save(photo)).unlink()
    del api.headers[HEADER]
    lines = index(api)
    assert {one["product_id"]: one["request_id"] for one in lines} == ids
