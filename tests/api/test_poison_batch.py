"""One product that can't be encoded does not hold back those that are indexed with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from main import create_app
from nlp_models import TextEncoder
from product_search.encoders.embeddings import Matrix
from product_search.errors import IN_THE_LOG
from product_search.indexing.indexer import Indexer
from product_search.outbox.events import ClaimPolicy
from product_search.runs.background import Loop
from product_search.settings import Settings
from tests.api.helpers import base64_of, create, ids, listed, resources, search
from tests.sessions import writing
from tests.stand_ins import StandIn
from tests.unit.pictures import encoded, noise

POISON = "毒"
TITLES = ["红色双肩包", "保温杯", "有毒的商品", "儿童雨伞", "蓝牙耳机", "毒上加毒"]
DEADLINE_S = 120.0
BATCH_SIZE = 64
POLICY = ClaimPolicy(max_attempts=2, first_pause=timedelta(milliseconds=1))


class Poisoned:
    """A text encoder that breaks on one character, as a tokenizer's bug would have it."""

    def __init__(self, real: TextEncoder) -> None:
        self._real = real
        self.fingerprint = real.fingerprint
        self.dim = real.dim

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        """See TextEncoder."""
        return self._real.encode_queries(texts)

    def encode_documents(self, texts: Sequence[str]) -> Matrix:
        """See TextEncoder; ValueError where a text holds the character."""
        if any(POISON in text for text in texts):
            raise ValueError("this text can't be encoded")
        return self._real.encode_documents(texts)


@pytest.fixture
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service whose indexing, once it has begun, goes through the poisoned encoder."""
    with TestClient(create_app(open_settings()), raise_server_exceptions=False) as client:
        resources(client).indexing_loop.stop()
        yield client


def index_all(api: TestClient, batch_size: int = BATCH_SIZE) -> None:
    """Run the loop until the outbox is empty."""
    held = resources(api)
    encoders = replace(held.encoders, text=Poisoned(held.encoders.text))
    indexer = Indexer(held.database, held.images, StandIn(held.collections, encoders), POLICY)
    loop = Loop("indexing", lambda: indexer.apply_oldest(batch_size))
    loop.start()
    deadline = time.monotonic() + DEADLINE_S
    while api.get("/health").json()["outbox"]["pending"]:
        assert time.monotonic() < deadline, "the outbox is never empty"
        time.sleep(0.02)
    loop.stop()


def by_status(api: TestClient, status: str) -> list[str]:
    items = listed(api, index_status=status, sort="oldest", page_size=100)["items"]
    return [item["title"] for item in items]


def test_an_idle_loop_does_not_ask_for_the_write_lock(api: TestClient) -> None:
    held = resources(api)
    indexer = Indexer(held.database, held.images, held.collections)
    with writing(held.database) as session:
        session.execute(text("SELECT 1"))  # another writer would wait for its end
        assert indexer.apply_oldest(BATCH_SIZE) == 0


@pytest.mark.parametrize("batch_size", [1, BATCH_SIZE])
def test_products_wait_while_the_encoder_itself_is_broken(
    api: TestClient, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(api, title="红色双肩包")
    create(api, title="保温杯")
    held = resources(api)
    encoders = replace(held.encoders, text=Poisoned(held.encoders.text))
    indexer = Indexer(held.database, held.images, StandIn(held.collections, encoders))
    monkeypatch.setattr(f"{__name__}.POISON", "")  # every text holds it
    with pytest.raises(ValueError, match="can't be encoded"):
        indexer.apply_oldest(batch_size)
    assert by_status(api, "pending") == ["红色双肩包", "保温杯"]
    monkeypatch.undo()
    index_all(api, batch_size)
    assert by_status(api, "indexed") == ["红色双肩包", "保温杯"]


def test_two_poisoned_products_alone_do_not_block_those_behind_them(api: TestClient) -> None:
    for title in ("毒一", "毒二", "保温杯"):
        create(api, title=title)
    index_all(api, 2)
    assert by_status(api, "failed") == ["毒一", "毒二"]
    assert by_status(api, "indexed") == ["保温杯"]


@pytest.mark.parametrize("batch_size", [1, 4, BATCH_SIZE])
def test_the_others_of_a_poisoned_batch_are_indexed(api: TestClient, batch_size: int) -> None:
    for seed, title in enumerate(TITLES):
        create(api, title=title, image_base64=base64_of(encoded(noise((30, 30), seed), "PNG")))
    index_all(api, batch_size)
    good = [title for title in TITLES if POISON not in title]
    bad = [title for title in TITLES if POISON in title]
    assert by_status(api, "indexed") == good
    assert by_status(api, "failed") == bad
    assert by_status(api, "pending") == []
    for item in listed(api, index_status="failed")["items"]:
        assert item["index_error"] == IN_THE_LOG
    assert resources(api).entities.count() == len(good)
    for title in good:
        (hit,) = search(api, "text_to_text", text=title, top_k=1)
        assert hit["product"]["title"] == title
    health = api.get("/health").json()
    left = {"pending": 0, "retrying": 0, "failed": len(bad)}
    assert (health["status"], health["outbox"]) == ("degraded", left)


def test_a_deletion_in_a_poisoned_batch_is_carried_out(api: TestClient) -> None:
    gone = create(api, title="删掉的")
    index_all(api)
    assert resources(api).entities.count() == 1
    create(api, title="有毒的")
    assert api.delete(f"/product/{gone['product_id']}").status_code == 204
    create(api, title="无辜的")
    index_all(api)
    assert resources(api).entities.count() == 1
    assert by_status(api, "indexed") == ["无辜的"]
    assert by_status(api, "failed") == ["有毒的"]


def test_a_poisoned_product_is_indexed_once_it_is_changed(api: TestClient) -> None:
    product = create(api, title="有毒的")
    index_all(api)
    assert by_status(api, "failed") == ["有毒的"]
    url = f"/product/{product['product_id']}"
    assert api.patch(url, json={"title": "解药"}).status_code == 200
    index_all(api)
    shown = api.get(url).json()
    assert (shown["index_status"], shown["index_error"]) == ("indexed", None)
    assert ids(search(api, "text_to_text", text="解药")) == [product["product_id"]]
    assert api.get("/health").json()["status"] == "ok"
