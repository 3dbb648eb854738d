"""Index work that fails, that two workers meet at, or that takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from main import create_app
from nlp_models import EncoderPair
from orm_models import OutboxEvent
from product_search.cli import manage
from product_search.database.clock import database_clock
from product_search.errors import VectorStoreUnavailable
from product_search.images.store import content_hash
from product_search.indexing.indexer import Indexer
from product_search.milvus.entities import Entity
from product_search.outbox.events import ClaimPolicy
from product_search.settings import Settings
from tests.api.helpers import base64_of, create, ids, listed, resources, search
from tests.sessions import reading
from tests.stand_ins import StandIn
from tests.unit.pictures import encoded, file_of, noise
from vector_db import EntityCollection

LEASE = timedelta(hours=1)  # so long that no test on a slow machine renews it
POLICY = ClaimPolicy(LEASE, max_attempts=3, first_pause=timedelta(seconds=2))
DEADLINE_S = 120.0


class Clock:
    """The database's clock, as the test sets it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)

    def __call__(self, _session: Session) -> datetime:
        """See Clock in outbox."""
        return self.now


class Watched:
    """The real collection; `before_upsert` is called while a write is on its way to it."""

    def __init__(
        self, real: EntityCollection, before_upsert: Callable[[Sequence[Entity]], object]
    ) -> None:
        self._real = real
        self._before_upsert = before_upsert
        self.delete = real.delete

    def upsert(self, entities: Sequence[Entity]) -> None:
        """See EntityCollection."""
        self._before_upsert(entities)
        self._real.upsert(entities)


@pytest.fixture
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service that itself indexes nothing."""
    with TestClient(create_app(open_settings()), raise_server_exceptions=False) as client:
        resources(client).indexing_loop.stop()
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def indexer(api: TestClient, clock: Clock) -> Indexer:
    held = resources(api)
    return Indexer(held.database, held.images, held.collections, POLICY, clock)


def watched(indexer: Indexer, before_upsert: Callable[[Sequence[Entity]], object]) -> Indexer:
    real = indexer.collections
    entities = cast(EntityCollection, Watched(real.active().entities, before_upsert))
    return replace(indexer, collections=StandIn(real, entities=entities))


def outbox_of(api: TestClient) -> tuple[int, int, int]:
    counts = api.get("/health").json()["outbox"]
    return counts["pending"], counts["retrying"], counts["failed"]


def with_images(api: TestClient, count: int) -> list[int]:
    """Products, each with an image of its own."""
    pictures = (base64_of(encoded(noise((30, 30), seed), "PNG")) for seed in range(count))
    return [create(api, image_base64=picture)["product_id"] for picture in pictures]


def revisions(indexer: Indexer) -> dict[int, int]:
    """What Milvus holds, by product."""
    states = indexer.collections.active().entities.scan(-1, 1000)
    return {state.product_id: state.revision for state in states}


def test_one_bad_image_among_32_holds_back_none_and_is_retried_when_told_to(
    api: TestClient, indexer: Indexer, clock: Clock
) -> None:
    made = with_images(api, 32)
    bad = made[13]
    content = resources(api).catalog.image(bad, None).content
    path = file_of(resources(api).images, content_hash(content))
    path.unlink()
    assert indexer.apply_oldest(64) == 32
    assert listed(api, index_status="indexed")["total"] == 31
    assert outbox_of(api) == (1, 1, 0)
    for pause in (2, 4):
        clock.now += timedelta(seconds=pause - 1)
        assert indexer.apply_oldest(64) == 0
        clock.now += timedelta(seconds=1)
        assert indexer.apply_oldest(64) == 1
    shown = api.get(f"/product/{bad}").json()
    assert (shown["index_status"], shown["index_error"]) == ("failed", "图片文件已丢失或无法读取")
    assert [item["product_id"] for item in listed(api, index_status="failed")["items"]] == [bad]
    assert (outbox_of(api), indexer.apply_oldest(64)) == ((0, 0, 1), 0)
    path.write_bytes(content)
    assert resources(api).catalog.retry() == 1
    assert api.get("/health").json()["outbox"] == {"pending": 1, "retrying": 0, "failed": 0}
    assert indexer.apply_oldest(64) == 1
    shown = api.get(f"/product/{bad}").json()
    assert (shown["index_status"], shown["index_error"]) == ("indexed", None)
    found = search(api, "image_to_image", image_base64=base64_of(content), top_k=1)
    assert ids(found) == [bad]


def test_a_store_that_is_down_costs_no_attempt(api: TestClient, indexer: Indexer) -> None:
    def fail(_entities: Sequence[Entity]) -> None:
        raise VectorStoreUnavailable("向量库暂时不可用")

    create(api)
    for _ in range(2 * POLICY.max_attempts):
        with pytest.raises(VectorStoreUnavailable):
            watched(indexer, fail).apply_oldest(64)
        assert outbox_of(api) == (1, 0, 0)
    assert indexer.apply_oldest(64) == 1
    assert listed(api, index_status="indexed")["total"] == 1


def test_many_changes_are_indexed_once_as_the_last_left_them(
    api: TestClient, indexer: Indexer
) -> None:
    product_id = create(api)["product_id"]
    for number in range(5):
        api.patch(f"/product/{product_id}", json={"title": f"第{number}版"})
    written: list[int] = []
    assert watched(indexer, lambda entities: written.append(len(entities))).apply_oldest(64) == 1
    assert (written, revisions(indexer), outbox_of(api)) == ([1], {product_id: 6}, (0, 0, 0))


def test_a_write_that_comes_too_late_is_made_good(
    api: TestClient, indexer: Indexer, clock: Clock
) -> None:
    """A worker falls asleep in its write; another one takes over; then the first one's arrives."""
    product_id, other = create(api)["product_id"], create(api)["product_id"]

    def overtake(_entities: Sequence[Entity]) -> None:
        clock.now += LEASE
        assert api.patch(f"/product/{product_id}", json={"title": "新"}).status_code == 200
        assert api.delete(f"/product/{other}").status_code == 204
        assert indexer.apply_oldest(64) == 2
        assert (revisions(indexer), outbox_of(api)) == ({product_id: 2}, (0, 0, 0))

    watched(indexer, overtake).apply_oldest(64)
    assert revisions(indexer) == {product_id: 1, other: 1}  # what the late write has spoiled
    assert listed(api, index_status="pending")["total"] == 1
    assert indexer.apply_oldest(64) == 2
    assert (revisions(indexer), outbox_of(api)) == ({product_id: 2}, (0, 0, 0))
    assert listed(api, index_status="indexed")["total"] == 1


def test_what_was_lost_before_the_write_is_not_written(
    api: TestClient, indexer: Indexer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(api)
    encode = EncoderPair.encode_products

    def overtake(encoders: EncoderPair, *texts: Sequence[str]) -> object:
        monkeypatch.undo()
        clock.now += LEASE
        assert indexer.apply_oldest(64) == 1
        return encode(encoders, *texts)

    monkeypatch.setattr(EncoderPair, "encode_products", overtake)
    written: list[int] = []
    watched(indexer, lambda entities: written.append(len(entities))).apply_oldest(64)
    assert written == [0]
    assert outbox_of(api) == (0, 0, 0)
    assert listed(api, index_status="indexed")["total"] == 1


def test_the_lease_is_renewed_while_a_batch_takes_long(api: TestClient, indexer: Indexer) -> None:
    create(api)
    short = ClaimPolicy(lease=timedelta(seconds=0.3))

    def lease_end() -> datetime | None:
        with reading(indexer.database) as session:
            return session.scalars(select(OutboxEvent.available_at)).one()

    def dawdle(_entities: Sequence[Entity]) -> None:
        before, deadline = lease_end(), time.monotonic() + DEADLINE_S
        while lease_end() == before:
            assert time.monotonic() < deadline, "the lease is never renewed"
            time.sleep(0.01)

    real_clock = replace(indexer, policy=short, clock=database_clock)
    assert watched(real_clock, dawdle).apply_oldest(64) == 1
    assert listed(api, index_status="indexed")["total"] == 1
    assert [thread.name for thread in threading.enumerate() if thread.name == "lease"] == []


def test_the_command_queues_again_what_was_given_up(
    api: TestClient,
    indexer: Indexer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRODUCT_SEARCH_DATA_DIR", str(resources(api).settings.data_dir))
    caplog.set_level("INFO")
    (product_id,) = with_images(api, 1)
    path = file_of(resources(api).images, resources(api).catalog.image(product_id, None).etag[:64])
    path.rename(tmp_path / "picture")
    hasty = replace(indexer, policy=ClaimPolicy(LEASE, max_attempts=1))
    assert hasty.apply_oldest(64) == 1
    assert outbox_of(api) == (0, 0, 1)
    (tmp_path / "picture").rename(path)
    assert manage.main(["retry", "--product", str(product_id + 1)]) == 2
    assert f"商品 {product_id + 1} 不存在" in caplog.text
    assert manage.main(["retry", "--product", str(product_id)]) == 0
    assert manage.main(["retry"]) == 0
    assert ["1 件" in caplog.text, "0 件" in caplog.text] == [True, True]
    assert (hasty.apply_oldest(64), outbox_of(api)) == (1, (0, 0, 0))
