"""A new encoder while the service runs: filled, switched to, rolled back from, dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from main import create_app
from nlp_models import EncoderPair
from orm_models import Product, VectorCollection
from product_search.bootstrap.encoders import EncoderLoader
from product_search.encoders.embeddings import Matrix
from product_search.errors import VectorStoreUnavailable
from product_search.indexing import reindex
from product_search.indexing.collections import Role, fetch_live
from product_search.indexing.indexer import Indexer
from product_search.outbox import counts
from product_search.runs import queue
from product_search.runs.queue import RunKind, RunState
from product_search.settings import Settings
from tests.api.helpers import base64_of, create, ids, listed, resources, search
from tests.api.reindexing import (
    PHOTO,
    PRODUCTS,
    command,
    encoder_of,
    held,
    idle,
    settings as settings,
    stock,
)
from tests.clock import until
from tests.sessions import reading, writing
from tests.unit.pictures import file_of


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def rows_of(api: TestClient) -> dict[int, int]:
    """Revisions by product, as the rows have them."""
    with reading(resources(api).database) as session:
        return {row.id: row.revision for row in session.scalars(select(Product))}


@dataclass
class Traffic:
    """Searches and writes that go on until told to end; what the searches said."""

    api: TestClient
    first: int  # never written to: Milvus Lite's searches miss what is being replaced
    second: int
    ending: threading.Event = field(default_factory=threading.Event)
    said: list[str] = field(default_factory=list)

    def search(self) -> None:
        """An image always finds itself, whichever encoder answers."""
        query = {"mode": "image_to_image", "image_base64": base64_of(PHOTO), "top_k": 100}
        while not self.ending.is_set():
            answer = self.api.post("/search", json=query)
            assert answer.status_code == 200, answer.text
            body = answer.json()
            assert self.first in ids(body["hits"])
            assert body["hits"][0]["score"] > 0.99
            self.said.append(body["encoder"])

    def write(self) -> None:
        """Products come, change and go."""
        number = 0
        while not self.ending.is_set():
            number += 1
            made = create(self.api, wait=True, title=f"新 {number}")["product_id"]
            changed = self.api.patch(f"/product/{made}", json={"title": f"改 {number}"})
            assert changed.status_code == 200
            if number % 3 == 0:
                assert self.api.delete(f"/product/{made}").status_code == 204
            if number % 4 == 0:
                self.api.patch(f"/product/{self.second}", json={"title": f"书包 {number}"})


def test_searches_and_writes_go_on_while_a_collection_is_filled_and_switched_to(
    api: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, *_ = stock(api)
    traffic = Traffic(api, first, second)
    with ThreadPoolExecutor(3) as pool:
        tasks = [pool.submit(traffic.search), pool.submit(traffic.write)]
        try:
            assert command("--encoder", "chinese-clip", "--rate", "8") == 0
            until(
                lambda: "chinese-clip" in traffic.said or any(task.done() for task in tasks),
                "a search by the new encoder",
            )
        finally:
            traffic.ending.set()
        for task in tasks:
            task.result()
    assert traffic.said == sorted(traffic.said, reverse=True)  # starter, then chinese-clip
    assert set(traffic.said) == {"starter", "chinese-clip"}
    until(lambda: idle(api), "an empty outbox")
    rows = rows_of(api)
    assert held(resources(api).collections) == {Role.active: rows, Role.previous: rows}
    assert listed(api, index_status="indexed")["total"] == len(rows)

    later = create(api, wait=True, title="后来的")["product_id"]
    assert command("--rollback") == 0
    until(lambda: encoder_of(api) == "starter", "the rollback")
    assert later in ids(search(api, "text_to_text", text="后来的", top_k=100))
    assert command("--encoder", "chinese-clip") == 2
    assert "--drop-old" in caplog.text
    assert command("--rollback") == 0  # and forward again
    until(lambda: encoder_of(api) == "chinese-clip", "the way forward")

    before = (
        f"product_v2_{EncoderLoader(resources(api).settings).load_named('starter').fingerprint}"
    )
    assert resources(api).collections.vector_database.has_collection(before)
    assert command("--drop-old") == 0
    assert not resources(api).collections.vector_database.has_collection(before)
    assert list(held(resources(api).collections)) == [Role.active]
    last = create(api, wait=True, title="最后的")["product_id"]
    assert last in ids(search(api, "text_to_text", text="最后的", top_k=100))
    for refused in (["--drop-old"], ["--rollback"], ["--cancel"], ["--encoder", "chinese-clip"]):
        assert command(*refused) == 2


def test_a_reindexing_is_cancelled_and_what_it_filled_is_dropped(
    api: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    stock(api)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(command, "--encoder", "chinese-clip", "--rate", "1")
        collections = resources(api).collections
        database = collections.database
        until(lambda: Role.filling in database.read(fetch_live), "the filling")
        name = database.read(fetch_live)[Role.filling].name
        assert command("--encoder", "chinese-clip") == 2
        assert "--status" in caplog.text
        caplog.set_level("INFO")
        assert command("--status") == 0
        assert [f"{part}" in caplog.text for part in ("filling", "active", name)] == [True] * 3
        assert command("--cancel") == 0
        assert running.result() == 2
    until(lambda: not collections.vector_database.has_collection(name), "the end of the collection")
    assert encoder_of(api) == "starter"
    create(api, wait=True, title="照常")
    assert listed(api, index_status="indexed")["total"] == PRODUCTS + 1


def test_without_a_service_the_command_does_it_itself(settings: Settings) -> None:
    with TestClient(create_app(settings)) as api:
        first = stock(api)[0]
    assert command("--encoder", "chinese-clip") == 0
    with TestClient(create_app(settings)) as api:
        assert encoder_of(api) == "chinese-clip"
        assert "starter" in api.get("/health").json()["encoders"]["hint"]
        hits = search(api, "image_to_image", image_base64=base64_of(PHOTO), top_k=PRODUCTS)
        assert first in ids(hits)
        rows = rows_of(api)
        assert held(resources(api).collections) == {Role.active: rows, Role.previous: rows}
    assert command("--drop-old") == 0


def test_before_the_first_start_there_is_nothing_to_reindex(settings: Settings) -> None:
    assert settings.data_dir.is_dir()
    assert command("--encoder", "starter") == 2


@pytest.fixture
def frozen(api: TestClient) -> TestClient:
    """A service that indexes nothing by itself; its products are indexed."""
    stock(api)
    resources(api).indexing_loop.stop()
    return api


def indexer_of(api: TestClient) -> Indexer:
    service = resources(api)
    return Indexer(service.database, service.images, service.collections)


def begin(api: TestClient) -> int:
    """Queue a reindexing, and wait until the first products are queued for it."""
    database = resources(api).database
    run_id = database.write(reindex.start, "chinese-clip", None)
    resources(api).run_executor.wake()
    until(lambda: database.read(counts.count_fills, 1) > 0, "a fill")
    return run_id


def finish(api: TestClient, run_id: int) -> None:
    """Index until the run has ended and nothing waits."""
    database, indexer = resources(api).database, indexer_of(api)

    def ended() -> bool:
        applied = indexer.apply_oldest(4)
        run = database.read(queue.find_latest, RunKind.reindex, RunState.done)
        return not applied and run is not None and run.id == run_id

    until(ended, "the switch")
    rows = rows_of(api)
    assert held(resources(api).collections) == {Role.active: rows, Role.previous: rows}


def while_it_encodes(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Once: after a worker has read the rows, and before it writes to Milvus."""
    encode = EncoderPair.encode_products

    def interrupted(encoders: EncoderPair, *texts: list[str]) -> tuple[Matrix, Matrix]:
        monkeypatch.setattr(EncoderPair, "encode_products", encode)
        meanwhile()
        return encode(encoders, *texts)

    monkeypatch.setattr(EncoderPair, "encode_products", interrupted)


def test_a_worker_that_claimed_before_the_filling_began_leaves_nothing_out(
    frozen: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, begun = frozen, []
    changed, gone = sorted(rows_of(api))[:2]
    assert api.patch(f"/product/{changed}", json={"title": "改"}).status_code == 200
    assert api.delete(f"/product/{gone}").status_code == 204
    while_it_encodes(monkeypatch, lambda: begun.append(begin(api)))
    assert indexer_of(api).apply_oldest(4) == 2
    finish(api, *begun)


def test_a_product_deleted_while_the_fill_has_it_in_hand_leaves_both_collections(
    frozen: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = frozen
    gone, changed = sorted(rows_of(api))[:2]

    def meanwhile() -> None:
        assert api.delete(f"/product/{gone}").status_code == 204
        assert api.patch(f"/product/{changed}", json={"title": "改"}).status_code == 200

    run_id = begin(api)
    while_it_encodes(monkeypatch, meanwhile)
    assert indexer_of(api).apply_oldest(4) == 4
    assert gone in held(resources(api).collections)[Role.filling]  # until its own event's turn
    finish(api, run_id)
    assert gone not in rows_of(api)


def test_a_fill_alone_writes_to_the_new_collection_alone(
    frozen: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, encoded_by = frozen, []
    encode = EncoderPair.encode_products

    def noting(encoders: EncoderPair, *texts: list[str]) -> tuple[Matrix, Matrix]:
        encoded_by.extend([encoders.name] * len(texts[0]))
        return encode(encoders, *texts)

    run_id = begin(api)
    monkeypatch.setattr(EncoderPair, "encode_products", noting)
    finish(api, run_id)
    assert encoded_by == ["chinese-clip"] * PRODUCTS


def test_a_damaged_image_does_not_hold_up_the_switch(frozen: TestClient) -> None:
    api = frozen
    damaged = min(rows_of(api))
    images = resources(api).images
    file_of(images, resources(api).catalog.image(damaged, None).etag[:64]).unlink()
    run_id = begin(api)
    database = resources(api).database

    def switched() -> bool:
        indexer_of(api).apply_oldest(4)
        run = database.read(queue.find_latest, RunKind.reindex, RunState.done)
        return run is not None and run.id == run_id

    until(switched, "the switch")
    assert damaged in held(resources(api).collections)[Role.active]  # by its title
    assert api.get("/health").json()["outbox"]["retrying"] == 1


def test_without_the_encoders_of_a_live_collection_nothing_is_claimed(frozen: TestClient) -> None:
    api = frozen
    made = create(api, title="等着")["product_id"]
    database = resources(api).database
    stranger = {"name": "product_v1_x", "encoder": "starter", "encoder_fingerprint": "x"}
    with writing(database) as session:
        row = VectorCollection(role=Role.filling, **stranger)
        session.add(row)
    with pytest.raises(VectorStoreUnavailable):
        indexer_of(api).apply_oldest(4)
    assert api.get(f"/product/{made}").json()["index_status"] == "pending"
    assert database.write(reindex.cancel) > 0
    assert indexer_of(api).apply_oldest(4) == 1


def test_a_service_goes_on_with_what_is_active_and_not_with_what_is_chosen(
    settings: Settings,
) -> None:
    with TestClient(create_app(settings)) as api:
        stock(api)
        assert api.get("/health").json()["encoders"]["hint"] is None
    other = settings.model_copy(update={"encoder": "chinese-clip"})
    with TestClient(create_app(other)) as api:
        shown = api.get("/health").json()["encoders"]
        assert shown["name"] == "starter"
        assert "manage reindex --encoder chinese-clip" in shown["hint"]
        assert listed(api, index_status="indexed")["total"] == PRODUCTS
