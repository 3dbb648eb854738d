"""A service that writes and two workers that index through Kafka; what may go wrong goes wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import confluent_kafka as kafka
import httpx
import pytest
from sqlalchemy import func, select

from orm_models import Database, OutboxEvent, Product, VectorCollection
from product_search.catalog.products import KEEP_IMAGE, Catalog
from product_search.catalog.rows import upsert_by_sku
from product_search.images.store import ImageStore
from product_search.milvus.options import MilvusOptions
from product_search.outbox import counts
from product_search.outbox.kafka import Consumer, KafkaTopic
from product_search.settings import Settings
from tests.clock import DEADLINE_S, until
from tests.faults.workers import claimed, worker
from tests.kafka_servers import KAFKA, MockKafka, new_topic
from tests.milvus_servers import NetworkMilvus
from tests.servers import running_api
from tests.sessions import reading
from vector_db import MilvusDatabase

# How long Kafka is down; half a minute where there is time for it.
DOWN_S = float(os.environ.get("PRODUCT_SEARCH_TEST_OUTAGE_S", "4"))
DIM = 512


@dataclass(frozen=True)
class Shop:
    """What a test sees of the running processes."""

    address: str
    settings: Settings
    topic: KafkaTopic
    milvus: NetworkMilvus
    database: Database
    catalog: Catalog

    def create(self, count: int) -> list[int]:
        """New products, written past the API: the relay finds them by itself."""
        made = [self.catalog.create({"title": f"书包 {n}"}, None) for n in range(count)]
        return [product.product_id for product in made]

    def bring_in(self, count: int) -> None:
        """New products of an import, which are indexed by their messages alone."""
        rows = [{"sku": f"S-{n}", "title": f"书包 {n}"} for n in range(count)]
        self.database.write(upsert_by_sku, rows)

    def wait_until_indexed(self) -> None:
        """Nothing waits any more."""
        until(lambda: self.database.read(counts.count_pending) == 0, "the rest of the indexing")

    def check_stores_agree(self) -> None:
        """Milvus holds each product that has a row, in its revision, and nothing else."""
        self.wait_until_indexed()
        with reading(self.database) as session:
            revisions = {row.milvus_id: row.revision for row in session.scalars(select(Product))}
            statuses = set(session.scalars(select(Product.index_status)))
            (collection,) = session.scalars(select(VectorCollection.name))
        vector_database = MilvusDatabase(
            self.milvus.place, "test", MilvusOptions(index_type="FLAT")
        )
        try:
            states = vector_database.open_collection(collection).scan(-1, 10_000)
        finally:
            vector_database.close()
        assert {state.milvus_id: state.revision for state in states} == revisions
        assert len(states) == len(revisions)
        assert statuses <= {"indexed"}

    def messages(self) -> list[kafka.Message]:
        """All that is in the topic."""
        reader = kafka.Consumer({"bootstrap.servers": self.topic.servers, "group.id": "reader"})
        parts = reader.list_topics(self.topic.name, timeout=DEADLINE_S).topics[self.topic.name]
        places = [kafka.TopicPartition(self.topic.name, number, 0) for number in parts.partitions]
        left = sum(reader.get_watermark_offsets(place)[1] for place in places)
        reader.assign(places)
        found: list[kafka.Message] = []
        while len(found) < left:
            found += reader.consume(left - len(found), 0.2)
        reader.close()
        return found

    def send(self, messages: list[kafka.Message]) -> None:
        """Put messages into the topic once more, in this order."""
        producer = kafka.Producer({"bootstrap.servers": self.topic.servers})
        for message in messages:
            producer.produce(self.topic.name, message.value(), message.key())
        assert producer.flush(DEADLINE_S) == 0


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkMilvus]:
    server = NetworkMilvus(tmp_path_factory.mktemp("milvus"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def shop(
    open_settings: Callable[[], Settings], milvus: NetworkMilvus, brokers: str
) -> Iterator[Shop]:
    """The service, which indexes nothing by itself."""
    topic = new_topic(brokers)
    variables = {
        "MILVUS_URI": milvus.place.uri,
        "MILVUS_INDEX_TYPE": "FLAT",
        "INDEX_IN_PROCESS": "false",
        "INDEX_LEASE_S": "3",
        "KAFKA_BOOTSTRAP_SERVERS": topic.servers,
        "KAFKA_TOPIC": topic.name,
        "KAFKA_GROUP": topic.group,
        "KAFKA_OPTIONS": str(topic.options).replace("'", '"'),
    }
    with pytest.MonkeyPatch.context() as patched, ExitStack() as stack:
        for name, value in variables.items():
            patched.setenv(f"PRODUCT_SEARCH_{name}", value)
        settings = open_settings()
        address, _ = stack.enter_context(running_api(settings.data_dir))
        database = Database(settings.sqlalchemy_url)
        stack.callback(database.close)
        catalog = Catalog(database, ImageStore(settings.images_dir))
        yield Shop(address, settings, topic, milvus, database, catalog)


@pytest.fixture(scope="module")
def workers(shop: Shop) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two of them, both at work."""
    with worker(shop.settings.data_dir) as first, worker(shop.settings.data_dir) as second:
        pair = [first, second]
        until(lambda: both_are_at_work(shop, pair), "both workers at work")
        shop.wait_until_indexed()
        yield pair


def both_are_at_work(shop: Shop, pair: list[subprocess.Popen[bytes]]) -> bool:
    """Whether each, halted, is found with a batch in hand; there is then more for both to do."""
    if shop.database.read(counts.count_pending) < 60:
        shop.create(60)
    with halted(*pair):
        return batches(shop) == 2


@contextmanager
def halted(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    for process in processes:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def batches(shop: Shop) -> int:
    """How many batches are in the workers' hands."""
    with reading(shop.database) as session:
        tokens = func.count(func.distinct(OutboxEvent.claim_token))
        return session.scalar(select(tokens)) or 0


def test_two_workers_share_what_is_written(shop: Shop, workers: object) -> None:
    answer = httpx.post(f"{shop.address}/product?wait=true", json={"title": "红色双肩包"})
    assert (answer.status_code, answer.json()["index_status"]) == (201, "indexed")
    assert httpx.get(f"{shop.address}/health").json()["kafka"] == "ok"
    shop.check_stores_agree()


def test_messages_that_come_twice_late_and_out_of_order_change_nothing(
    shop: Shop, workers: object
) -> None:
    made = shop.create(30)
    shop.wait_until_indexed()
    for product_id in made[:20]:
        shop.catalog.update(product_id, {"title": "改动"}, KEEP_IMAGE)
    for product_id in made[10:]:
        shop.catalog.delete(product_id)
    shop.wait_until_indexed()
    every = shop.messages()
    mess = [*every, *every]
    random.Random(0).shuffle(mess)
    shop.send(mess)
    shop.create(5)
    for product_id in made[:10]:
        shop.catalog.update(product_id, {"title": "再改"}, KEEP_IMAGE)
    shop.check_stores_agree()


def test_a_deletion_that_races_changes_is_never_undone(shop: Shop, workers: object) -> None:
    made = shop.create(20)

    def change(product_id: int) -> None:
        for number in range(4):
            address = f"{shop.address}/product/{product_id}"
            status = httpx.patch(address, json={"title": f"改动 {number}"}).status_code
            assert status in (200, 404)

    def remove(product_id: int) -> None:
        assert httpx.delete(f"{shop.address}/product/{product_id}").status_code == 204

    with ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(task, each) for each in made for task in (change, remove)]
        replay = pool.submit(shop.messages)
        for task in tasks:
            task.result()
    shop.send(replay.result())
    shop.check_stores_agree()
    with reading(shop.database) as session:
        assert session.scalars(select(Product.id).where(Product.id.in_(made))).all() == []


def test_poison_holds_back_nothing(shop: Shop, workers: object) -> None:
    producer = kafka.Producer({"bootstrap.servers": shop.topic.servers})
    for number in range(20):
        producer.produce(shop.topic.name, b"poison", str(number))
    assert producer.flush(DEADLINE_S) == 0
    shop.create(20)
    shop.check_stores_agree()
    reader = kafka.Consumer({"bootstrap.servers": shop.topic.servers, "group.id": "reader"})

    def buried() -> int:
        parts = reader.list_topics(shop.topic.dead, timeout=DEADLINE_S).topics[shop.topic.dead]
        places = [kafka.TopicPartition(shop.topic.dead, number) for number in parts.partitions]
        return sum(reader.get_watermark_offsets(place)[1] for place in places)

    until(lambda: buried() == 20, "every dead letter")
    reader.close()


def test_while_kafka_is_down_writes_go_on_and_are_indexed_when_it_is_back(
    shop: Shop, workers: object, mock_kafka: MockKafka
) -> None:
    if shop.topic.servers == os.environ.get(KAFKA):
        pytest.skip("only the mock can be taken down")
    mock_kafka.down()
    written, end = 0, time.monotonic() + DOWN_S
    while time.monotonic() < end or shop_kafka(shop) == "ok":
        answer = httpx.post(f"{shop.address}/product", json={"title": f"雨伞 {written}"})
        assert answer.status_code == 201, answer.text
        written += 1
    assert shop.database.read(counts.count_pending) > 0
    mock_kafka.up()
    shop.check_stores_agree()
    until(lambda: shop_kafka(shop) == "ok", "a healthy relay")


def shop_kafka(shop: Shop) -> str:
    state: str = httpx.get(f"{shop.address}/health").json()["kafka"]
    return state


def test_what_a_killed_worker_had_in_hand_is_indexed_by_the_other_and_sigterm_ends_a_batch(
    shop: Shop, workers: list[subprocess.Popen[bytes]]
) -> None:
    first, second = workers
    until(lambda: killed_in_a_batch(shop, first, second), "both workers in a batch")
    assert batches(shop) > 0
    shop.check_stores_agree()

    shop.bring_in(100)
    until(lambda: claimed(shop.settings) > 0, "a claim")
    second.terminate()
    assert second.wait(DEADLINE_S) == 0
    assert claimed(shop.settings) == 0
    with reading(shop.database) as session:
        waiting = set(session.scalars(select(OutboxEvent.product_id)))
    assert waiting
    # What was done is committed, and what was not is still to come.
    member, came = Consumer(shop.topic), set[int]()
    deadline = time.monotonic() + DEADLINE_S
    while not waiting <= came:
        assert time.monotonic() < deadline, f"{len(waiting - came)} products never come"
        if batch := member.poll(100, 0.2):
            came |= set(batch.product_ids)
    member.close()
    assert came == waiting


def killed_in_a_batch(
    shop: Shop, first: subprocess.Popen[bytes], second: subprocess.Popen[bytes]
) -> bool:
    if shop.database.read(counts.count_pending) < 60:
        shop.create(60)
    with halted(first, second):
        if batches(shop) == 2:
            first.kill()
            first.wait(DEADLINE_S)
            return True
    return False
