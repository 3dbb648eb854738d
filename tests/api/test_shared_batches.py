"""Requests that share a batch of the encoder: what one of them does is nothing to the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from main import create_app
from product_search.api import threads
from product_search.batching import Caller
from product_search.encoders import queue
from product_search.encoders.bge import QUERY_INSTRUCTION, BertNetwork, BgeEncoder
from product_search.encoders.embeddings import Matrix
from product_search.encoders.tokens import Tokens
from product_search.search import search
from product_search.settings import Settings
from tests.api.helpers import code_of
from tests.api.serving import PATIENCE_S, sent, serving
from tests.api.test_metrics import samples
from tests.clock import until
from tests.stand_ins import StandIn

ROOM = 6  # for texts that wait
BLOCKER, POISON = "挡路的", "有毒的"
Fields = dict[str, Any]
Batch = list[list[int]]


class GatedNetwork:
    """A network whose batches wait while the gate is shut, and fail where the poison is in them."""

    def __init__(self, real: BertNetwork) -> None:
        self.dim, self.limit = real.dim, real.limit
        self.batches: list[Batch] = []
        self.poison: list[int] = []
        self._real = real
        self._is_open = threading.Event()

    def embed(self, tokens: Sequence[Tokens]) -> Matrix:
        """See BertNetwork."""
        batch = [one.tolist() for one in tokens]
        self.batches.append(batch)
        assert self._is_open.wait(PATIENCE_S)
        if self.poison in batch:
            raise RuntimeError("secret insides")
        return self._real.embed(tokens)

    def open(self) -> None:
        """Let the batches through."""
        self._is_open.set()

    @property
    def seen(self) -> Batch:
        """The texts of all batches."""
        return [tokens for batch in self.batches for tokens in batch]


@dataclass(frozen=True)
class Shop:
    """The running application, whose text encoder is at work on BLOCKER behind a shut gate."""

    port: int
    http: httpx.Client
    clients: ThreadPoolExecutor
    encoder: BgeEncoder
    network: GatedNetwork
    callers: Sequence[Caller]  # of the searches so far
    blocker: Future[httpx.Response]

    def ask(self, text: str) -> Future[httpx.Response]:
        """A search that is under way."""
        return self.send("/search", {"mode": "text_to_text", "text": text})

    def send(self, path: str, body: Fields) -> Future[httpx.Response]:
        return self.clients.submit(self.http.post, path, json=body)

    def wait_for(self, texts: int) -> None:
        """Return once so many texts wait for the network."""
        until(lambda: self.metric("queue_depth") == texts, f"{texts} texts in the queue")

    def wait_for_joined(self, before: float) -> None:
        """Return once one more waits for another's embedding than before."""
        until(lambda: self.joined() == before + 1, "the second request for the text")

    def joined(self) -> float:
        return self.metric("cache_lookups_total", 'cache="query_embedding",outcome="joined"')

    def metric(self, name: str, labels: str = 'queue="text"') -> float:
        return samples(self.http.get("/metrics").text).get(f"{name}{{{labels}}}", 0.0)

    def tokens(self, text: str) -> list[int]:
        """What the network sees of a query."""
        return [int(one) for one in self.encoder.tokenise([QUERY_INSTRUCTION + text])[0]]


@pytest.fixture
def at_once() -> int:
    """How many searches run at a time, each by itself."""
    return ROOM + 2


@pytest.fixture
def shop(
    open_settings: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> Iterator[Shop]:
    callers: list[Caller] = []

    def noted() -> Caller:
        callers.append(Caller())
        return callers[-1]

    monkeypatch.setattr(threads, "Caller", noted)
    monkeypatch.setattr(search, "_TOGETHER", 1)
    monkeypatch.setattr(search, "_THREADS", {"searches": at_once, "image_searches": 1})
    settings = open_settings()
    app = create_app(settings)
    with monkeypatch.context() as narrow:  # the application's own encoders outlive this test
        narrow.setattr(queue, "_MAX_WAITING", ROOM)
        encoder = BgeEncoder(settings.shipped_bge, precision="int8")
    network = encoder._network = GatedNetwork(encoder._network)
    with (
        serving(app) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as http,
        ThreadPoolExecutor(ROOM + 2) as clients,
    ):
        assert http.post("/product?wait=true", json={"title": "书包"}).status_code == 201
        service = app.state.service
        held, encoders = service.resources, service.resources.encoders
        gated = StandIn(held.collections, replace(encoders, text=encoder))
        gated.active()
        searches = replace(held.search, collections=gated)
        app.state.service = replace(service, resources=replace(held, search=searches))
        body = {"mode": "text_to_text", "text": BLOCKER}
        blocker = clients.submit(http.post, "/search", json=body)
        shop = Shop(port, http, clients, encoder, network, callers, blocker)
        network.poison = shop.tokens(POISON)
        until(lambda: network.batches, "the first batch")
        yield shop
        network.open()


def found(answer: Future[httpx.Response]) -> int:
    response = answer.result()
    assert response.status_code == 200, response.text
    return len(response.json()["hits"] + response.json()["near_misses"])


def test_a_text_that_breaks_the_encoder_breaks_no_other_of_its_batch(shop: Shop) -> None:
    good = [shop.ask(text) for text in ("书包", "双肩包", "皮包")]
    shop.wait_for(3)
    bad = [shop.ask(POISON) for _ in range(2)]  # encoded once for both
    shop.wait_for(4)
    shop.network.open()
    for answer in bad:
        assert code_of(answer.result()) == (500, "internal_error")
        assert "secret" not in answer.result().text
    assert [found(answer) for answer in good] == [1, 1, 1]
    together = [len(batch) for batch in shop.network.batches if shop.network.poison in batch]
    assert together[0] == 4
    assert found(shop.blocker) == 1
    assert found(shop.ask("新的词")) == 1


def test_a_text_that_is_encoded_beside_a_bad_one_is_there_for_another_request(shop: Shop) -> None:
    queries = [{"mode": "text_to_text", "text": text} for text in ("书包", POISON)]
    batch = shop.send("/search/batch", {"queries": queries})
    shop.wait_for(2)
    before = shop.joined()
    other = shop.ask("书包")
    shop.wait_for_joined(before)
    shop.network.open()
    assert code_of(batch.result()) == (500, "internal_error")
    assert found(other) == 1


@pytest.mark.parametrize("at_once", [1])
def test_a_text_whose_client_leaves_while_it_waits_is_never_encoded(shop: Shop) -> None:
    searches = 'queue="searches"'
    before = shop.metric("queue_dropped_total", searches)

    def wait_for(count: int) -> None:
        until(lambda: shop.metric("queue_depth", searches) == count, f"{count} searches")

    with sent(shop.port, '{"mode": "text_to_text", "text": "走了"}'):
        wait_for(1)
    until(lambda: shop.callers[-1].is_gone, "the watch")
    last = shop.ask("书包")
    wait_for(2)
    shop.network.open()
    assert found(last) == 1
    assert shop.metric("queue_dropped_total", searches) == before + 1
    assert shop.tokens("走了") not in shop.network.seen
    assert shop.tokens("书包") in shop.network.seen


def test_who_asked_the_same_as_a_client_that_leaves_is_answered(shop: Shop) -> None:
    with sent(shop.port, '{"mode": "text_to_text", "text": "书包"}'):
        shop.wait_for(1)
        before = shop.joined()
        same = shop.ask("书包")
        shop.wait_for_joined(before)
    until(lambda: shop.callers[1].is_gone, "the watch")
    shop.network.open()
    assert found(same) == 1
    assert shop.network.seen.count(shop.tokens("书包")) == 1


def test_a_full_queue_refuses_a_request_and_answers_the_others(shop: Shop) -> None:
    waiting = [shop.ask(f"书包 {number}") for number in range(ROOM)]
    shop.wait_for(ROOM)
    refused = shop.http.post("/search", json={"mode": "text_to_text", "text": "甲"})
    assert code_of(refused) == (429, "overloaded")
    assert refused.headers["Retry-After"] == "1"
    assert shop.metric("queue_depth") == ROOM
    shop.network.open()
    assert [found(answer) for answer in waiting] == [1] * ROOM
    assert shop.tokens("甲") not in shop.network.seen


def test_a_batch_takes_no_room_of_searches_and_its_texts_come_after_theirs(shop: Shop) -> None:
    queries = [{"mode": "text_to_text", "text": text} for text in ("甲", "乙")]
    batch = shop.send("/search/batch", {"queries": queries})
    shop.wait_for(2)
    searches = [shop.ask(f"书包 {number}") for number in range(ROOM - 1)]
    shop.wait_for(ROOM + 1)
    shop.network.open()
    assert [found(answer) for answer in searches] == [1] * (ROOM - 1)
    assert ["hits" in result for result in batch.result().json()["results"]] == [True, True]
    assert shop.network.batches[-1] == [shop.tokens("甲"), shop.tokens("乙")]


def test_a_long_text_comes_after_short_ones(shop: Shop) -> None:
    long = shop.ask("书" * 200)
    shop.wait_for(1)
    short = shop.ask("书包")
    shop.wait_for(2)
    shop.network.open()
    assert (found(short), found(long)) == (1, 1)
    assert shop.network.seen[1:] == [shop.tokens("书包"), shop.tokens("书" * 200)]
