"""Searches at the same time share batches and calls, and answer as each would alone."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from main import create_app
from product_search.api.bodies import JSON
from product_search.settings import Settings
from tests.api.helpers import base64_of
from tests.api.sample import SAMPLE, import_sample
from tests.api.serving import PATIENCE_S, serving
from tests.api.test_metrics import samples
from tests.hostile import HOSTILE
from tests.stand_ins import StandIn

CLIENTS = 40
TEXTS = [
    "红富士苹果",
    "适合送礼的水果",
    "防水 双肩包",
    "白色运动鞋",
    "不要红色的包",
    "apple",
    "通勤 女包 大容量 轻便",
    "跑步鞋 男 透气 轻便 减震 夏天穿的 不闷脚的那一种",
]
FILTERS: list[dict[str, Any]] = [
    {"category": "生鲜果蔬"},
    {"price": {"gte": "10", "lte": "200"}},
    {"has_image": True, "attributes": {"颜色": ["红", "白", "黑"]}},
]
Fields = dict[str, Any]


@dataclass(frozen=True)
class Shop:
    """The running application over a part of the sample, and what all its clients share."""

    app: FastAPI
    http: httpx.Client

    def forget(self) -> None:
        """Forget the embeddings of queries."""
        service = self.app.state.service
        held = service.resources
        fresh = StandIn(held.collections, replace(held.encoders))
        fresh.active()
        search = replace(held.search, collections=fresh)
        self.app.state.service = replace(service, resources=replace(held, search=search))

    def send(self, body: Fields) -> httpx.Response:
        """The answer to a search, which may be one that nobody can answer."""
        content = json.dumps(body)  # httpx refuses half a character
        return self.http.post("/search", content=content, headers={"Content-Type": JSON})

    def ask(self, body: Fields) -> Fields:
        """The page but for the time that it took."""
        answer = self.send(body)
        assert answer.status_code == 200, answer.text
        page: Fields = answer.json()
        del page["took_ms"]
        return page

    def ask_together(self, bodies: Sequence[Fields]) -> list[Fields]:
        with ThreadPoolExecutor(CLIENTS) as clients:
            return list(clients.map(self.ask, bodies))

    def shared(self) -> dict[str, int]:
        """How many items of each queue of batches had another one before them in their batch."""
        found = samples(self.http.get("/metrics").text)
        shared = Counter[str]()
        for name, items in found.items():
            if name.startswith("batch_size_sum"):
                queue = name.split('"')[1].split()[0]  # each collection has one of its own
                shared[queue] += int(items - found[name.replace("_sum", "_count")])
        return shared


@pytest.fixture(scope="module")
def shop(
    open_settings: Callable[[], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    settings = open_settings()
    with TestClient(create_app(settings)) as api:
        import_sample(api, tmp_path_factory.mktemp("table"), ["FRESH", "SHOE", "BAG"])
    app = create_app(settings)
    with (
        serving(app) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as http,
    ):
        yield Shop(app, http)


def first_pages() -> list[Fields]:
    """Searches of several kinds, with and without filters; those by picture come first."""
    paths = sorted((SAMPLE / "images").iterdir())[::20]
    pictures = [base64_of(path.read_bytes()) for path in paths]
    bodies: list[Fields] = [
        {"mode": "image_to_image", "image_base64": picture} for picture in pictures
    ]
    for mode in ("image_to_text", "hybrid"):
        bodies += [{"mode": mode, "image_base64": picture} for picture in pictures[:4]]
    for mode in ("text_to_text", "text_to_image", "hybrid"):
        bodies += [{"mode": mode, "text": text} for text in TEXTS]
    for one in FILTERS:
        bodies += [{"text": text, "filters": one} for text in TEXTS[:4]]
        bodies.append({"mode": "image_to_image", "image_base64": pictures[0], "filters": one})
    return [body | {"min_confidence": 0, "top_k": 5} for body in bodies]


def nearly(value: Any) -> Any:
    """Equal to the value with all numbers in it but for 1e-4; a confidence has four digits."""
    if isinstance(value, dict):
        return {name: nearly(one) for name, one in value.items()}
    if isinstance(value, list):
        return [nearly(one) for one in value]
    return pytest.approx(value, abs=1.01e-4) if isinstance(value, float) else value


def test_searches_together_find_what_each_finds_alone(shop: Shop) -> None:
    bodies = first_pages()
    pages = [shop.ask(body) for body in bodies]
    following = [
        body | {"cursor": page["next_cursor"]}
        for body, page in zip(bodies, pages, strict=True)
        if page["next_cursor"]
    ]
    assert len(following) > len(bodies) / 2
    pages += [shop.ask(body) for body in following]
    shop.forget()
    before = shop.shared()
    together = shop.ask_together(bodies + following)
    assert together == nearly(pages)
    grown = {queue: count - before[queue] for queue, count in shop.shared().items()}
    assert min(grown[queue] for queue in ("text", "image", "search")) > 0, grown


def test_a_page_asked_again_and_again_under_load_is_the_same(shop: Shop) -> None:
    words = random.Random(17)
    page = {"text": "白色的跑步鞋 透气", "explain": True, "facets": True, "min_confidence": 0}
    others = [{"text": "".join(words.choices("".join(TEXTS), k=9))} for _ in range(100)]
    bodies = [page] * 50 + others
    words.shuffle(bodies)
    shop.forget()
    answers = zip(bodies, shop.ask_together(bodies), strict=True)
    pages = [answer for body, answer in answers if body is page]
    assert len(pages) == 50
    assert all(one == pages[0] for one in pages)
    assert len(pages[0]["hits"]) > 5


def hostile_pages() -> list[Fields]:
    """Searches whose texts, filters, pictures or numbers are wrong, odd or as large as may be."""
    picture = base64_of((SAMPLE / "images" / "1f34e.webp").read_bytes())
    edges: list[Fields] = [
        {
            "attributes": {
                f"k{key}": ["\\" * 90 + str(one) for one in range(100)] for key in range(20)
            }
        },
        {"attributes": {"x": {"gte": -1.7e308, "lt": 5e-324}}},
        {"price": {"gte": "99999999999999999999"}},
        {"created_at": {"gte": "0001-01-01T00:00:00+00:00"}},
    ]
    edges += [{"category": text} for text in HOSTILE]
    edges += [{"attributes": {text: text}} for text in HOSTILE]
    bodies: list[Fields] = [{"text": "苹果", "filters": one} for one in edges]
    for mode in ("text_to_text", "hybrid"):
        texts = [*HOSTILE, "书" * 512, "苹果\ud800"]
        bodies += [{"mode": mode, "text": text} for text in texts]
    bodies += [{"mode": "image_to_image", "image_base64": one} for one in ("AAAA", picture[:200])]
    bodies += [
        {"product_id": 10**18},
        {"text": "苹果", "cursor": "x"},
        {"text": "苹果", "offset": -1},
    ]
    bodies.append({"parts": [{"text": "苹果", "weight": one} for one in (1, -1)]})
    return bodies


def test_whatever_others_send_at_the_same_time_the_answers_are_the_same(shop: Shop) -> None:
    good, hostile = first_pages(), hostile_pages()
    alone = [shop.ask(body) for body in good]
    shop.forget()
    with ThreadPoolExecutor(CLIENTS) as others, ThreadPoolExecutor(CLIENTS) as clients:
        answers = others.map(shop.send, hostile)
        assert list(clients.map(shop.ask, good)) == nearly(alone)
        statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 404, 422}
