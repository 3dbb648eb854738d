"""Events through every Kafka: published, shared in a group, committed, buried, and Kafka down."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import confluent_kafka as kafka
import pytest

from product_search.errors import KafkaUnavailable, StartError
from product_search.outbox.kafka import (
    MAX_MESSAGE_BYTES,
    Consumer,
    IndexEvent,
    KafkaTopic,
    MessageBatch,
    Publisher,
)
from tests.kafka_servers import PRODUCE, MockKafka, new_topic
from tests.log_lines import kept_lines

DEADLINE_S = 60.0
OUT_OF_SEQUENCE, NOT_ALLOWED = 45, 29


def event(number: int, product_id: int | None = None) -> IndexEvent:
    return IndexEvent(
        event_id=number,
        product_id=product_id or number,
        milvus_id=number,
        operation="upsert",
        revision=1,
    )


@pytest.fixture
def topic(brokers: str) -> KafkaTopic:
    return new_topic(brokers)


@pytest.fixture
def publisher(topic: KafkaTopic) -> Iterator[Publisher]:
    publisher = Publisher(topic)
    yield publisher
    publisher.close()


@pytest.fixture
def join(topic: KafkaTopic) -> Iterator[Callable[[], Consumer]]:
    """New members of the topic's group."""
    members: list[Consumer] = []

    def make() -> Consumer:
        members.append(Consumer(topic))
        return members[-1]

    yield make
    for member in members:
        member.close()


def next_batch(member: Consumer, limit: int = 100) -> MessageBatch:
    deadline = time.monotonic() + DEADLINE_S
    while not (batch := member.poll(limit, 0.2)):
        assert time.monotonic() < deadline, "no message came"
    return batch


def next_products(member: Consumer, count: int) -> list[int]:
    """So many products of messages that are committed one batch after the other."""
    found: list[int] = []
    while len(found) < count:
        batch = next_batch(member)
        found += batch.product_ids
        member.commit(batch)
    return found


def raw_messages(servers: str, topic: str, count: int) -> list[kafka.Message]:
    """The first messages of a topic, as any other program sees them."""
    consumer = kafka.Consumer(
        {"bootstrap.servers": servers, "group.id": uuid4().hex, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found: list[kafka.Message] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} messages came"
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message)
    consumer.close()
    return found


def send(topic: KafkaTopic, *values: bytes) -> None:
    """Put messages into the topic as any other program might."""
    producer = kafka.Producer({"bootstrap.servers": topic.servers})
    for value in values:
        producer.produce(topic.name, value, b"1")
    assert producer.flush(DEADLINE_S) == 0


def test_an_event_is_a_json_message_with_its_product_as_key(
    topic: KafkaTopic, publisher: Publisher
) -> None:
    assert publisher.publish([event(7, 5)]) == [event(7, 5)]
    (message,) = raw_messages(topic.servers, topic.name, 1)
    assert message.key() == b"5"
    assert not message.headers()
    assert json.loads(message.value() or b"") == {
        "event_id": 7,
        "product_id": 5,
        "milvus_id": 7,
        "operation": "upsert",
        "revision": 1,
    }


def test_a_message_bears_the_request_in_a_header_and_so_does_its_dead_letter(
    topic: KafkaTopic, publisher: Publisher, join: Callable[[], Consumer]
) -> None:
    publisher.publish([event(1).model_copy(update={"request_id": "a-1"})])
    (message,) = raw_messages(topic.servers, topic.name, 1)
    assert message.headers() == [("request_id", b"a-1")]
    assert "request_id" not in json.loads(message.value() or b"")
    producer = kafka.Producer({"bootstrap.servers": topic.servers})
    for request_id in (b"b-2", b"forged\nid", b"\xff"):
        producer.produce(topic.name, b"poison", b"1", headers=[("request_id", request_id)])
    assert producer.flush(DEADLINE_S) == 0
    member = join()
    with kept_lines() as lines:
        while member.dead_letters < 3:
            member.commit(next_batch(member))
    told = [one.get("request_id") for one in lines if "dead letter" in one["event"]]
    assert sorted(told, key=str) == [None, None, "b-2"]
    buried = [dict(one.headers() or []) for one in raw_messages(topic.servers, topic.dead, 3)]
    assert [one["request_id"] for one in buried if "request_id" in one] == [b"b-2"]


def test_a_product_keeps_its_order_and_is_named_once_in_a_batch(
    publisher: Publisher, join: Callable[[], Consumer]
) -> None:
    events = [event(number, 1 + number % 3) for number in range(1, 31)]
    assert sorted(e.event_id for e in publisher.publish(events)) == list(range(1, 31))
    member, named = join(), list[int]()
    while set(named) < {1, 2, 3}:
        batch = next_batch(member)
        assert len(set(batch.product_ids)) == len(batch.product_ids)
        named += batch.product_ids


def test_what_is_not_committed_comes_again_and_what_is_committed_does_not(
    publisher: Publisher, join: Callable[[], Consumer]
) -> None:
    publisher.publish([event(1)])
    first = join()
    assert next_batch(first).product_ids == [1]
    first.close()
    second = join()
    batch = next_batch(second)
    assert batch.product_ids == [1]
    second.commit(batch)
    second.close()
    publisher.publish([event(2)])
    assert next_batch(join()).product_ids == [2]


def test_a_batch_that_could_not_be_done_comes_again(
    publisher: Publisher, join: Callable[[], Consumer]
) -> None:
    publisher.publish([event(number) for number in range(1, 21)])
    member, seen = join(), set[int]()
    while len(seen) < 20:
        batch = next_batch(member, limit=4)
        assert len(batch.product_ids) <= 4
        seen |= set(batch.product_ids)
        member.rewind(batch)
        again = next_batch(member, limit=20)
        seen |= set(again.product_ids)
        member.commit(again)
    assert seen == set(range(1, 21))


def test_members_of_the_group_share_the_messages(
    publisher: Publisher, join: Callable[[], Consumer]
) -> None:
    members = [join(), join()]
    got: list[list[int]] = [[], []]
    deadline = time.monotonic() + DEADLINE_S
    number = 0
    while not (got[0] and got[1]):  # the second joins when it pleases Kafka
        assert time.monotonic() < deadline, "one member gets everything"
        publisher.publish([event(number := number + 1) for _ in range(8)])
        for member, mine in zip(members, got, strict=True):
            if batch := member.poll(100, 0.1):
                mine += batch.product_ids
                member.commit(batch)


SOUND = event(1).model_dump_json()
POISON: dict[str, bytes] = {
    "no_json": b"\xff\xfe",
    "empty": b"",
    "a_list": b"[1]",
    "a_field_is_missing": b'{"product_id": 1}',
    "a_wrong_type": SOUND.replace(":1,", ':"1",').encode(),
    "an_id_that_no_database_holds": event(1)
    .model_dump_json()
    .replace(":1,", f":{10**30},")
    .encode(),
    "deep": b"[" * 3_000,
    "oversize": b'{"pad": "' + b"x" * MAX_MESSAGE_BYTES + b'"}',
    "very_large": b"x" * 900_000,
}


def test_what_is_no_event_goes_to_the_dead_letters_and_holds_back_nothing(
    topic: KafkaTopic,
    publisher: Publisher,
    join: Callable[[], Consumer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    send(topic, *POISON.values())
    publisher.publish([event(2)])
    member = join()
    assert next_products(member, 1) == [2]
    while member.dead_letters < len(POISON):  # they may be in a partition of their own
        member.commit(next_batch(member))
    assert len([r for r in caplog.records if "dead letter" in r.getMessage()]) == len(POISON)
    buried = raw_messages(topic.servers, topic.dead, len(POISON))
    assert {(m.value() or b"")[:5_000] for m in buried} == {v[:5_000] for v in POISON.values()}
    for message in buried:
        headers = dict(message.headers() or [])
        assert headers["reason"]
        assert headers["topic"] == topic.name.encode()
        assert set(headers) == {"reason", "topic", "partition", "offset"}
    member.close()
    publisher.publish([event(3)])
    assert next_products(join(), 1) == [3]  # the poison does not come again


def test_what_a_later_release_says_more_is_no_poison(
    topic: KafkaTopic, join: Callable[[], Consumer]
) -> None:
    send(topic, SOUND.replace("{", '{"new": [], ').replace("upsert", "mend").encode())
    assert next_products(join(), 1) == [1]


def test_a_dead_letter_that_kafka_does_not_take_is_not_forgotten(mock_kafka: MockKafka) -> None:
    topic = new_topic(mock_kafka.servers)
    send(topic, b"poison")
    member = Consumer(topic)
    mock_kafka.fail(PRODUCE, NOT_ALLOWED)
    with pytest.raises(KafkaUnavailable):
        next_batch(member)
    batch = next_batch(member)
    assert (batch.product_ids, member.dead_letters) == ([], 1)
    member.close()


def test_while_kafka_is_down_nothing_is_told_as_published_and_the_log_is_not_flooded(
    mock_kafka: MockKafka, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    topic = new_topic(mock_kafka.servers)
    publisher = Publisher(topic)
    assert publisher.publish([event(1)]) == [event(1)]
    mock_kafka.down()
    with caplog.at_level(logging.INFO):
        assert publisher.publish([event(2), event(3)]) == []
    assert 0 < len(caplog.records) < 10
    assert "rdkafka" not in capfd.readouterr().err
    mock_kafka.up()
    assert set(publisher.publish([event(2), event(3)])) == {event(2), event(3)}
    publisher.close()


def test_a_publisher_that_kafka_refuses_for_good_begins_anew(mock_kafka: MockKafka) -> None:
    publisher = Publisher(new_topic(mock_kafka.servers))
    assert publisher.publish([event(1)]) == [event(1)]
    mock_kafka.fail(PRODUCE, OUT_OF_SEQUENCE)
    assert publisher.publish([event(2)]) == []
    assert publisher.publish([event(2)]) == [event(2)]
    publisher.close()


@pytest.mark.parametrize("client", [Publisher, Consumer])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"no.such.option": 1}, "no.such.option"),
        ({"security.protocol": "secret"}, "security.protocol"),
        ({"enable.auto.commit": True, "acks": 0}, "acks、enable.auto.commit"),
    ],
)
def test_an_option_that_can_not_be_used_is_named(
    client: Callable[[KafkaTopic], object], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(StartError, match="PRODUCT_SEARCH_KAFKA_OPTIONS") as refused:
        client(KafkaTopic("127.0.0.1:1", "t", "g", options))
    assert told in str(refused.value)


def test_passwords_are_not_shown() -> None:
    assert "geheim" not in repr(KafkaTopic("b", "t", "g", {"sasl.password": "geheim"}))
