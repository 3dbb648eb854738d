"""The relay on every database: what is published, when again, and never by two at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from orm_models import Database
from product_search.catalog.products import KEEP_IMAGE, Catalog
from product_search.errors import KafkaUnavailable
from product_search.images.store import ImageStore
from product_search.outbox import catalog_events, events as outbox
from product_search.outbox.events import Claim, ClaimPolicy
from product_search.outbox.kafka import IndexEvent, KafkaTopic, Publisher
from product_search.outbox.relay import MAX_PUBLISHED, PUBLISHING, Relay
from tests.contract.clock import Clock
from tests.kafka_servers import MockKafka, new_topic

LEASE = timedelta(seconds=60)
POLICY = ClaimPolicy(LEASE, max_attempts=3, first_pause=timedelta(seconds=2))
REPUBLISH_S = 300


class Remembering(Publisher):
    """A publisher that remembers what Kafka has acknowledged."""

    def __init__(self, topic: KafkaTopic) -> None:
        super().__init__(topic)
        self.products: list[int] = []

    def publish(self, events: Sequence[IndexEvent]) -> list[IndexEvent]:
        """See Publisher."""
        delivered = super().publish(events)
        self.products += sorted(event.product_id for event in delivered)
        return delivered


@pytest.fixture(scope="module")
def open_publisher(mock_kafka: MockKafka) -> Iterator[Publisher]:
    publisher = Remembering(new_topic(mock_kafka.servers))
    yield publisher
    publisher.close()


@pytest.fixture
def publisher(open_publisher: Remembering) -> Remembering:
    open_publisher.products.clear()
    return open_publisher


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def relay(database: Database, publisher: Publisher, clock: Clock) -> Relay:
    return Relay(database, publisher, timedelta(seconds=REPUBLISH_S), clock)


@pytest.fixture
def catalog(database: Database, tmp_path: Path) -> Catalog:
    return Catalog(database, ImageStore(tmp_path / "images"))


@pytest.fixture
def published(relay: Relay, publisher: Remembering) -> Callable[[], list[int]]:
    """Publish what is to be published: of which products it was."""

    def publish() -> list[int]:
        publisher.products.clear()
        while relay.publish_due():
            pass
        return list(publisher.products)

    return publish


def create(catalog: Catalog, count: int = 1) -> list[int]:
    return [catalog.create({"title": "书包"}, None).product_id for _ in range(count)]


def change(catalog: Catalog, product_id: int, title: str) -> None:
    catalog.update(product_id, {"title": title}, KEEP_IMAGE)


def claimed(database: Database, clock: Clock, among: Sequence[int] | None = None) -> Claim:
    return database.write(
        outbox.claim,
        100,
        POLICY,
        clock,
        among,
    )


def ids(claim: Claim) -> list[int]:
    return [work.product_id for work in claim.items]


def test_each_product_is_published_once_by_its_oldest_event(
    catalog: Catalog, database: Database, clock: Clock, published: Callable[[], list[int]]
) -> None:
    made = create(catalog, 3)
    change(catalog, made[0], "新")
    assert published() == made
    assert published() == []
    change(catalog, made[1], "新")
    assert published() == []  # the claim of the first covers it
    claim = claimed(database, clock)
    change(catalog, made[2], "更新")
    database.write(partial(outbox.mark_done, items=claim.items))
    assert published() == [made[2]]


def test_a_deletion_is_published(
    catalog: Catalog, database: Database, clock: Clock, published: Callable[[], list[int]]
) -> None:
    (product_id,) = create(catalog)
    assert published() == [product_id]
    database.write(partial(outbox.mark_done, items=claimed(database, clock).items))
    catalog.delete(product_id)
    assert published() == [product_id]


def test_more_than_fit_at_once_are_published_one_after_the_other(
    catalog: Catalog, database: Database, published: Callable[[], list[int]]
) -> None:
    create(catalog, 3)
    database.write(catalog_events.record_rebuild)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM outbox_event")
        rows = ", ".join(
            f"({number}, {number}, 'upsert', 1, '2026-01-01')"
            for number in range(1, MAX_PUBLISHED + 51)
        )
        columns = "product_id, milvus_id, operation, revision, created_at"
        connection.exec_driver_sql(f"INSERT INTO outbox_event ({columns}) VALUES {rows}")
    assert sorted(published()) == list(range(1, MAX_PUBLISHED + 51))
    assert published() == []


def test_two_relays_never_publish_the_same(
    catalog: Catalog,
    database: Database,
    relay: Relay,
    publisher: Remembering,
    mock_kafka: MockKafka,
    clock: Clock,
) -> None:
    made = create(catalog, 60)
    other = Remembering(new_topic(mock_kafka.servers))
    second = Relay(database, other, relay.republish, clock)
    ready = threading.Barrier(2)

    def run(one: Relay) -> None:
        ready.wait()
        while one.publish_due():
            pass

    threads = [threading.Thread(target=run, args=(one,)) for one in (relay, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert sorted(publisher.products + other.products) == made


@pytest.mark.parametrize("database", ["mysql"], indirect=True)  # SQLite has one writer at a time
def test_a_relay_does_not_wait_for_a_write_in_progress(
    catalog: Catalog, database: Database, published: Callable[[], list[int]]
) -> None:
    first, second = create(catalog, 2)
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE outbox_event SET attempts = 0, revision = 2 WHERE product_id = {first}"
        )
        assert published() == [second]
    assert published() == [first]


def test_what_kafka_did_not_acknowledge_is_published_as_soon_as_it_is_back(
    catalog: Catalog, relay: Relay, mock_kafka: MockKafka, published: Callable[[], list[int]]
) -> None:
    made = create(catalog, 2)
    mock_kafka.down()
    with pytest.raises(KafkaUnavailable):
        relay.publish_due()
    mock_kafka.up()
    assert published() == made


def test_what_nothing_came_of_is_published_again(
    catalog: Catalog, clock: Clock, published: Callable[[], list[int]]
) -> None:
    made = create(catalog, 2)
    assert published() == made
    clock.pass_by(REPUBLISH_S - 1)
    assert published() == []
    clock.pass_by(1)
    assert published() == made


def test_what_was_published_before_the_clock_was_set_back_is_published_again(
    catalog: Catalog, clock: Clock, published: Callable[[], list[int]]
) -> None:
    made = create(catalog, 2)
    assert published() == made
    clock.pass_by(-2 * 3600)
    assert published() == made
    assert published() == []


def test_what_a_relay_took_before_it_died_is_published_by_another(
    catalog: Catalog,
    database: Database,
    relay: Relay,
    clock: Clock,
    published: Callable[[], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = create(catalog)

    def die(_events: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(relay.publisher, "publish", die)
        with pytest.raises(KeyboardInterrupt):
            relay.publish_due()
    clock.pass_by(PUBLISHING.total_seconds() - 1)
    assert published() == []
    clock.pass_by(1)
    assert published() == made


def test_a_dead_workers_products_are_published_again_when_its_lease_ends(
    catalog: Catalog, database: Database, clock: Clock, published: Callable[[], list[int]]
) -> None:
    made = create(catalog, 2)
    assert published() == made
    claim = claimed(database, clock)
    clock.pass_by(40)
    database.write(outbox.renew, claim, LEASE, clock)
    clock.pass_by(59)
    assert published() == []
    clock.pass_by(1)
    assert published() == made
    assert ids(claimed(database, clock, made)) == made


def test_a_claim_that_ends_while_its_product_is_published_is_not_forgotten(
    catalog: Catalog,
    database: Database,
    relay: Relay,
    clock: Clock,
    published: Callable[[], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker may have claimed what the relay has not yet noted as published."""
    made = create(catalog)
    with monkeypatch.context() as patched:

        def publish(events: Sequence[IndexEvent]) -> list[IndexEvent]:
            claimed(database, clock)
            return list(events)

        patched.setattr(relay.publisher, "publish", publish)
        assert relay.publish_due() == 1
    clock.pass_by(LEASE.total_seconds())
    assert published() == made


def test_a_product_that_failed_is_published_again_after_its_pause(
    catalog: Catalog, database: Database, clock: Clock, published: Callable[[], list[int]]
) -> None:
    made = create(catalog)
    assert published() == made
    claim = claimed(database, clock, made)
    reasons = dict.fromkeys(claim.items, "图片已损坏")
    database.write(outbox.mark_failed, reasons, POLICY, clock)
    clock.pass_by(1.9)
    assert (published(), ids(claimed(database, clock, made))) == ([], [])
    clock.pass_by(0.1)
    assert published() == made
    assert ids(claimed(database, clock, made)) == made


def test_a_change_of_a_product_that_pauses_is_published_at_once(
    catalog: Catalog, database: Database, clock: Clock, published: Callable[[], list[int]]
) -> None:
    made = create(catalog)
    assert published() == made
    reasons = dict.fromkeys(claimed(database, clock).items, "图片已损坏")
    database.write(outbox.mark_failed, reasons, POLICY, clock)
    change(catalog, made[0], "修好了")
    assert published() == made


def test_only_named_products_that_are_free_and_due_are_claimed(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    made = create(catalog, 5)
    change(catalog, made[1], "新")
    catalog.delete(made[2])
    assert ids(claimed(database, clock, [])) == []
    assert ids(claimed(database, clock, [made[1], made[2], 10**9])) == made[1:3]
    assert ids(claimed(database, clock, made[:3])) == made[:1]
    assert not database.read(outbox.is_due, POLICY, clock, made[:3])
    assert database.read(outbox.is_due, POLICY, clock, made)
