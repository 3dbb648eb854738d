"""A service over Kafka that indexes by itself, on every database, and a topic that is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from main import create_app
from orm_models import Database
from product_search.bootstrap.assemble import Resources
from product_search.catalog.rows import upsert_by_sku
from product_search.indexing.indexer import Indexer
from product_search.outbox import counts
from product_search.outbox.kafka import Consumer, KafkaTopic, Publisher
from product_search.outbox.relay import Relay
from product_search.settings import Settings
from tests.contract.conftest import empty_tables, mysql_url
from tests.kafka_servers import MockKafka, new_topic, running_kafka
from tests.sessions import reading

DEADLINE_S = 60.0


@pytest.fixture(params=["sqlite", "mysql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database's, its tables there."""
    url = mysql_url() if request.param == "mysql" else f"sqlite:///{tmp_path / 'catalog.sqlite3'}"
    database = Database(url)
    empty_tables(database)
    database.close()
    return url


def over(topic: KafkaTopic, settings: Settings) -> Settings:
    """The settings, with Kafka."""
    kafka = {
        "kafka_bootstrap_servers": topic.servers,
        "kafka_topic": topic.name,
        "kafka_group": topic.group,
        "kafka_options": topic.options,
    }
    return settings.model_copy(update=kafka)


@pytest.fixture
def settings(
    open_settings: Callable[[], Settings], database_url: str, mock_kafka: MockKafka
) -> Settings:
    settings = open_settings().model_copy(update={"database_url": database_url})
    return over(new_topic(mock_kafka.servers), settings)


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


def resources(api: TestClient) -> Resources:
    held = api.app.state.service.resources  # type: ignore[attr-defined]
    assert isinstance(held, Resources)
    return held


def until_nothing_waits(database: Database) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while database.read(counts.count_pending):
        assert time.monotonic() < deadline, "events wait for good"
        time.sleep(0.02)


def test_what_is_written_comes_through_kafka_into_milvus(api: TestClient) -> None:
    made = api.post("/product?wait=true", json={"title": "红色双肩包"}).json()
    gone = api.post("/product?wait=true", json={"title": "保温杯"}).json()
    assert (made["index_status"], gone["index_status"]) == ("indexed", "indexed")
    address = f"/product/{made['product_id']}?wait=true"
    assert api.patch(address, json={"title": "蓝色双肩包"}).json()["index_status"] == "indexed"
    assert api.delete(f"/product/{gone['product_id']}").status_code == 204
    until_nothing_waits(resources(api).database)
    (state,) = resources(api).entities.scan(-1, 10)
    assert (str(state.milvus_id), state.revision) == (made["milvus_id"], 2)
    health = api.get("/health").json()
    assert (health["status"], health["kafka"]) == ("ok", "ok")


def unpublished(api: TestClient) -> tuple[Resources, Indexer, int]:
    """A product that waits, and of which no message will tell; an indexer for it."""
    held = resources(api)
    assert held.relay_loop is not None
    held.relay_loop.stop()
    product_id = held.catalog.create({"title": "书包"}, None).product_id
    return held, Indexer(held.database, held.images, held.collections), product_id


def test_what_somebody_writes_comes_before_the_messages_of_an_import(
    api: TestClient, settings: Settings, mock_kafka: MockKafka
) -> None:
    held = resources(api)
    held.indexing_loop.stop()
    assert held.relay_loop is not None
    held.relay_loop.stop()
    topic = new_topic(mock_kafka.servers)
    with closing(Publisher(topic)) as publisher, closing(Consumer(topic)) as consumer:
        rows = [{"sku": str(number), "title": "杯子"} for number in range(3)]
        held.database.write(upsert_by_sku, rows)
        assert Relay(held.database, publisher, timedelta(minutes=5)).publish_due() == 3
        written = held.catalog.create({"title": "书包"}, None).product_id  # no message tells of it
        indexer = Indexer(held.database, held.images, held.collections)
        deadline = time.monotonic() + DEADLINE_S
        while not indexer.consume(consumer, 1):
            assert time.monotonic() < deadline, "no message comes"
    assert held.catalog.get(written).index_status == "indexed"
    assert held.database.read(counts.count_pending) == 2


@pytest.mark.parametrize("database_url", ["mysql"], indirect=True)  # SQLite locks no rows
def test_a_product_whose_events_are_locked_for_a_moment_is_indexed_by_the_same_message(
    api: TestClient, settings: Settings
) -> None:
    """So they are by a relay that notes what Kafka has just handed to a worker."""
    held, indexer, product_id = unpublished(api)
    with held.database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM outbox_event FOR UPDATE")
        applying = threading.Thread(target=indexer.apply_products, args=([product_id],))
        applying.start()
        with reading(held.database) as session:
            assert counts.count_pending(session) == 1
    applying.join(DEADLINE_S)
    assert held.catalog.get(product_id).index_status == "indexed"


@pytest.mark.parametrize("database_url", ["mysql"], indirect=True)  # SQLite locks no rows
def test_a_product_whose_events_are_locked_for_long_is_left_to_a_later_message(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("product_search.indexing.indexer._LOCKED_AT_MOST_S", 0.1)
    held, indexer, product_id = unpublished(api)
    with held.database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM outbox_event FOR UPDATE")
        indexer.apply_products([product_id])
    assert held.catalog.get(product_id).index_status == "pending"


def test_the_events_of_a_topic_that_is_lost_are_published_again(
    open_settings: Callable[[], Settings],
) -> None:
    settings = open_settings().model_copy(update={"kafka_republish_s": 1.0})
    with (
        running_kafka() as first,
        TestClient(create_app(over(new_topic(first.servers), settings))) as client,
    ):
        held = resources(client)
        held.indexing_loop.stop()
        for number in range(5):
            held.catalog.create({"title": f"书包 {number}"}, None)
        deadline = time.monotonic() + DEADLINE_S
        while not all_published(held.database):
            assert time.monotonic() < deadline, "nothing is published"
            time.sleep(0.02)
    with (
        running_kafka() as second,
        TestClient(create_app(over(new_topic(second.servers), settings))) as client,
    ):
        until_nothing_waits(resources(client).database)
        assert len(resources(client).entities.scan(-1, 10)) == 5


def all_published(database: Database) -> bool:
    with database.engine.connect() as connection:
        query = "SELECT count(*) FROM outbox_event WHERE publish_after IS NULL"
        return connection.exec_driver_sql(query).scalar() == 0
