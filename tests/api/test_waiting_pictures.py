"""Pictures that wait for a decoder: apart from texts, for a while alone, and not in memory."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from main import create_app
from product_search.api.dependencies import Service
from product_search.api.threads import (
    MANY_PICTURES_THREADS,
    PICTURE_THREADS,
    THREADS,
    RequestThreads,
)
from product_search.images import decoding
from product_search.images.processes.messages import Decoded, Region
from product_search.settings import Settings
from tests.api.helpers import base64_of, code_of, create
from tests.api.serving import PATIENCE_S, serving
from tests.clock import until
from tests.unit.pictures import encoded, four_colours, noise

PHOTO = encoded(four_colours(), "PNG")
AS_JSON = {"mode": "image_to_image", "image_base64": base64_of(PHOTO)}


class Decoders:
    """The decoders of the service, which wait while they are held."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._go_on = threading.Event()
        self._go_on.set()
        self.begun = 0
        monkeypatch.setattr("product_search.search.inputs.decode", self._decode)
        monkeypatch.setattr("product_search.images.store.decode_measured", self._decode_measured)

    def hold(self) -> None:
        """Let what is decoded from now on wait."""
        self.begun = 0
        self._go_on.clear()

    def go_on(self) -> None:
        """Let all go on."""
        self._go_on.set()

    def _decode(self, content: bytes, region: Region | None = None) -> Image.Image:
        return self._decode_measured(content, region).image

    def _decode_measured(self, content: bytes, region: Region | None = None) -> Decoded:
        self.begun += 1
        assert self._go_on.wait(PATIENCE_S)
        return decoding.decode_measured(content, region)


@dataclass(frozen=True)
class Served:
    """The running application behind its address, and its decoders."""

    app: FastAPI
    client: httpx.Client
    decoders: Decoders

    def with_picture_threads(self, threads: RequestThreads) -> None:
        """Let requests with pictures run in these."""
        service: Service = self.app.state.service
        self.app.state.service = replace(service, picture_threads=threads)

    def pictures(self) -> int:
        """Return how many requests with pictures run or wait."""
        service: Service = self.app.state.service
        return service.picture_threads._requests

    def search(self, **fields: Any) -> httpx.Response:
        return self.client.post("/search", **fields)


@pytest.fixture(scope="module")
def served(open_settings: Callable[[], Settings]) -> Iterator[Served]:
    monkeypatch = pytest.MonkeyPatch()
    decoders = Decoders(monkeypatch)
    app = create_app(open_settings())
    with (
        serving(app) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client,
    ):
        yield Served(app, client, decoders)
        decoders.go_on()
    monkeypatch.undo()


@pytest.fixture
def clients(served: Served) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS + 10) as clients:
        yield clients
        served.decoders.go_on()


def test_texts_are_answered_while_more_pictures_wait_than_there_are_threads(
    served: Served, clients: ThreadPoolExecutor
) -> None:
    served.with_picture_threads(RequestThreads(PICTURE_THREADS, name="picture"))
    known = served.client.post("/product?wait=true", json={"title": "包"} | photo()).json()
    kinds: list[dict[str, Any]] = [
        {"json": AS_JSON},
        {"data": {"mode": "image_to_image"}, "files": {"image": ("a.png", PHOTO, "image/png")}},
        {"json": {"mode": "image_to_image", "product_id": known["product_id"]}},
        {"json": {"parts": [{"text": "包"}, {"image_base64": base64_of(PHOTO)}]}},
    ]
    served.decoders.hold()
    count = THREADS + 4
    waiting: list[Future[httpx.Response]] = [
        clients.submit(served.search, **kinds[place % len(kinds)]) for place in range(count)
    ]
    waiting.append(clients.submit(served.client.post, "/product", json={"title": "新"} | photo(1)))
    batch = {"queries": [AS_JSON]}
    waiting += [
        clients.submit(served.client.post, "/search/batch", json=batch)
        for _ in range(MANY_PICTURES_THREADS + 1)
    ]
    until(lambda: served.pictures() == count + 1, "all pictures")
    assert served.search(json={"text": "包"}).status_code == 200
    texts = {"queries": [{"text": "包"}]}
    assert served.client.post("/search/batch", json=texts).status_code == 200
    assert served.client.post("/product", json={"title": "无图"}).status_code == 201
    served.decoders.go_on()
    assert [one.result().text for one in waiting if one.result().status_code >= 300] == []


def test_more_pictures_than_may_wait_are_refused_at_once(
    served: Served, clients: ThreadPoolExecutor
) -> None:
    served.with_picture_threads(RequestThreads(1, 1, name="picture"))
    served.decoders.hold()
    both = [clients.submit(served.search, json=AS_JSON) for _ in range(2)]
    until(lambda: served.pictures() == 2, "both pictures")
    refused = served.search(json=AS_JSON)
    assert (code_of(refused), refused.headers["Retry-After"]) == ((429, "overloaded"), "1")
    served.decoders.go_on()
    assert [one.result().status_code for one in both] == [200, 200]


def test_a_picture_that_no_thread_takes_is_refused_after_a_while(
    served: Served, clients: ThreadPoolExecutor
) -> None:
    served.with_picture_threads(RequestThreads(1, name="picture", patience_s=0.2))
    served.decoders.hold()
    first = clients.submit(served.search, json=AS_JSON)
    until(lambda: served.decoders.begun == 1, "the first picture")
    refused = served.search(json=AS_JSON)
    assert (code_of(refused), refused.headers["Retry-After"]) == ((429, "overloaded"), "1")
    served.decoders.go_on()
    assert first.result().status_code == 200


def test_a_picture_for_which_no_decoder_is_free_is_refused_after_a_while(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.with_picture_threads(RequestThreads(2, name="picture", patience_s=0.05))
    with decoding._turns_here.reserve(decoding._turns_here.total):
        assert code_of(served.search(json=AS_JSON)) == (429, "overloaded")
    assert served.search(json=AS_JSON).status_code == 200


def photo(seed: int = 0) -> dict[str, str]:
    return {"image_base64": base64_of(encoded(noise((40, 30), seed), "PNG"))}


@pytest.mark.parametrize("path", ["/search/batch", "/match"])
def test_few_pictures_of_a_request_are_decoded_at_the_same_time(
    api: TestClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(api, wait=True)
    images = [photo(seed) for seed in range(40)]
    alive: list[weakref.ref[Image.Image]] = []
    most = 0

    def decode(content: bytes, region: Region | None = None) -> Image.Image:
        nonlocal most
        image = decoding.decode(content, region)
        alive.append(weakref.ref(image))
        gc.collect()
        most = max(most, sum(one() is not None for one in alive))
        return image

    monkeypatch.setattr("product_search.search.inputs.decode", decode)
    monkeypatch.setattr("product_search.search.match.decode", decode)
    body = {
        "/search/batch": {"queries": [{"mode": "image_to_image"} | one for one in images]},
        "/match": {"text": {"text": "包"}, "images": images},
    }[path]
    answer = api.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert (len(alive), most <= 9) == (40, True), most
