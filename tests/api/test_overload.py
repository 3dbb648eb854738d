"""Searches that are too many, too slow, or nobody's any more, through a real server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import httpx
import pytest
from fastapi import FastAPI

from main import create_app
from nlp_models import TextEncoder
from product_search.api import threads
from product_search.api.batches import BatchThreads
from product_search.api.dependencies import Service
from product_search.api.threads import RequestThreads
from product_search.batching import Caller
from product_search.encoders.embeddings import Matrix
from product_search.settings import Settings
from tests.api.helpers import code_of
from tests.api.serving import PATIENCE_S, sent, serving
from tests.clock import until
from tests.stand_ins import StandIn


class Gate:
    """Text encoder whose texts wait while the gate is shut."""

    def __init__(self, real: TextEncoder) -> None:
        self._real = real
        self.fingerprint, self.dim = real.fingerprint, real.dim
        self.seen: list[str] = []
        self._is_open = threading.Event()

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        """See TextEncoder."""
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> Matrix:
        """See TextEncoder."""
        self.seen += texts
        assert self._is_open.wait(PATIENCE_S)
        return self._real.encode_documents(texts)

    def open(self) -> None:
        """Let the queries through."""
        self._is_open.set()


@dataclass(frozen=True)
class Served:
    """The running application, its address, and the gate that its searches wait at."""

    app: FastAPI
    port: int
    gate: Gate
    callers: Sequence[Caller]  # of the searches so far

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def search(self, text: str) -> httpx.Response:
        body = {"mode": "text_to_image", "text": text}
        return httpx.post(f"{self.url}/search", json=body, timeout=PATIENCE_S)

    def with_threads(self, count: int, max_waiting: int) -> None:
        """Let so many searches run, and so many wait."""
        service: Service = self.app.state.service
        narrow = RequestThreads(count, max_waiting)
        self.app.state.service = replace(service, search_threads=narrow)

    def search_batch(self, *texts: str) -> httpx.Response:
        """The answer to a batch of searches, each of which takes a turn of its own."""
        deep = {"mode": "text_to_image", "offset": 1}
        body = {"queries": [deep | {"text": text} for text in texts]}
        return httpx.post(f"{self.url}/search/batch", json=body, timeout=PATIENCE_S)

    def with_batches(self, count: int, max_turns: int) -> None:
        """Let batches have so many threads and, all together, so many turns."""
        service: Service = self.app.state.service
        narrow = BatchThreads(count, max_turns)
        self.app.state.service = replace(service, batch_threads=narrow)


@pytest.fixture
def served(
    open_settings: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
    callers: list[Caller] = []

    def noted() -> Caller:
        callers.append(Caller())
        return callers[-1]

    monkeypatch.setattr(threads, "Caller", noted)
    app = create_app(open_settings())
    with serving(app) as port:
        service: Service = app.state.service
        held, encoders = service.resources, service.resources.encoders
        gate = Gate(encoders.text)
        gated = StandIn(held.collections, replace(encoders, text=gate))
        searches = replace(held.search, collections=gated)
        app.state.service = replace(service, resources=replace(held, search=searches))
        yield Served(app, port, gate, callers)
        gate.open()


def test_too_many_searches_are_refused_at_once_and_the_others_are_answered(served: Served) -> None:
    served.with_threads(1, max_waiting=1)
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(served.search, "一")
        until(lambda: served.gate.seen, "the first search")
        second = clients.submit(served.search, "二")
        until(lambda: len(served.callers) == 2, "the second search")
        refused = served.search("多")
        assert code_of(refused) == (429, "overloaded")
        assert refused.headers["Retry-After"] == "1"
        assert "稍后" in refused.json()["message"]
        served.gate.open()
        assert (first.result().status_code, second.result().status_code) == (200, 200)
    assert served.gate.seen == ["一", "二"]
    assert served.search("三").status_code == 200


def test_health_products_and_suggestions_answer_while_every_search_waits(served: Served) -> None:
    with ThreadPoolExecutor(threads.THREADS + 5) as clients:
        answers = [clients.submit(served.search, str(one)) for one in range(threads.THREADS + 5)]
        until(lambda: len(served.callers) == threads.THREADS + 5, "all searches")
        assert httpx.get(f"{served.url}/health").json()["vector_store"] == "ok"
        assert httpx.get(f"{served.url}/product/list").status_code == 200
        assert httpx.get(f"{served.url}/suggest?q=lany").status_code == 200
        served.gate.open()
        assert [one.result().text for one in answers if one.result().status_code != 200] == []


def test_nothing_is_encoded_for_a_client_that_left_while_it_waited(served: Served) -> None:
    served.with_threads(1, max_waiting=9)
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(served.search, "一")
        until(lambda: served.gate.seen, "the first search")
        with sent(served.port, '{"mode": "text_to_image", "text": "走了"}'):
            until(lambda: len(served.callers) == 2, "the second search")
        until(lambda: served.callers[1].is_gone, "the watch")
        third = clients.submit(served.search, "三")
        served.gate.open()
        assert (first.result().status_code, third.result().status_code) == (200, 200)
    assert served.gate.seen == ["一", "三"]


def test_however_many_batches_there_are_two_have_a_turn_and_searches_their_threads(
    served: Served,
) -> None:
    served.with_threads(1, max_waiting=0)
    served.with_batches(2, max_turns=9)
    batches = [f"批{number}" for number in range(5)]
    with ThreadPoolExecutor(6) as clients:
        answers = [clients.submit(served.search_batch, text) for text in batches]
        until(lambda: len(served.callers) == 5, "all batches")
        until(lambda: len(served.gate.seen) == 2, "their first turns")
        answers.append(clients.submit(served.search, "单个"))
        until(lambda: "单个" in served.gate.seen, "the search")
        assert len(served.gate.seen) == 3
        served.gate.open()
        assert [one.result().status_code for one in answers] == [200] * 6


def test_between_the_turns_of_a_batch_others_have_theirs(served: Served) -> None:
    served.with_batches(1, max_turns=9)
    with ThreadPoolExecutor(2) as clients:
        long = clients.submit(served.search_batch, "长一", "长二", "长三")
        until(lambda: served.gate.seen, "the first turn")
        short = clients.submit(served.search_batch, "短")
        until(lambda: len(served.callers) == 2, "the short batch")
        served.gate.open()
        assert [len(one.result().json()["results"]) for one in (long, short)] == [3, 1]
    assert served.gate.seen == ["长一", "短", "长二", "长三"]


def test_a_batch_that_has_no_room_is_refused_whole_and_the_largest_has_room_alone(
    served: Served,
) -> None:
    served.with_batches(2, max_turns=2)
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(served.search_batch, "一", "二", "三")
        until(lambda: served.gate.seen, "the first turn")
        refused = served.search_batch("多")
        assert code_of(refused) == (429, "overloaded")
        assert refused.headers["Retry-After"] == "1"
        served.gate.open()
        assert ["hits" in one for one in first.result().json()["results"]] == [True] * 3
    assert "多" not in served.gate.seen
    assert served.search_batch("又有位置").status_code == 200
