"""The Kafka room: index events as messages, their publishing, and their consuming in a group."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import confluent_kafka as kafka
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_models import INT64_MAX
from product_search.errors import KafkaUnavailable, StartError

log = logging.getLogger(__name__)

Headers = list[tuple[str, str | bytes | None]]

MAX_MESSAGE_BYTES = 4_000  # an event has about 120
_MAX_KEPT_BYTES = 64_000  # of a dead letter, whose whole is in the topic that it came from
_LINGER_S = 0.05  # how long a batch is filled after its first message
_QUIET_S = 30.0  # the same trouble is told this often

_COMMON: dict[str, Any] = {
    "log_level": 2,  # a broker that is down is told by `_Trouble`, not 20 times a second
    "reconnect.backoff.max.ms": 2_000,
    "topic.metadata.refresh.interval.ms": 10_000,
    "allow.auto.create.topics": True,
}
_PRODUCER: dict[str, Any] = {"message.timeout.ms": 5_000, "linger.ms": 5}
_CONSUMER: dict[str, Any] = {"session.timeout.ms": 10_000}
# What must be so for nothing to be lost: no option changes these.
_OURS_TO_PRODUCE: dict[str, Any] = {"enable.idempotence": True, "acks": "all"}
_OURS_TO_CONSUME: dict[str, Any] = {"enable.auto.commit": False, "auto.offset.reset": "earliest"}
# How the client tells of a fatal error: by the second where a delivery report comes after it.
_FATAL = (kafka.KafkaException, SystemError)
_OURS = {"bootstrap.servers", "group.id", *_OURS_TO_PRODUCE, *_OURS_TO_CONSUME}


class IndexEvent(BaseModel):
    """An outbox event as a message, whose key is the product_id: a product keeps its order."""

    # Fields and operations of a later release pass: while one is rolled out both are at work.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    event_id: int = Field(ge=1, le=INT64_MAX)
    product_id: int = Field(ge=-INT64_MAX, le=INT64_MAX)  # below 0: of an entity without a product
    milvus_id: int = Field(ge=0, le=INT64_MAX)
    operation: str = Field(min_length=1, max_length=16)
    revision: int = Field(ge=0, le=INT64_MAX)


@dataclass(frozen=True)
class KafkaTopic:
    """Where events go: the brokers, the topic, the group that consumes it, librdkafka's options."""

    servers: str
    name: str
    group: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)  # passwords among them

    @property
    def dead(self) -> str:
        """The topic of messages that are no events."""
        return f"{self.name}.dead"

    def configuration(self, usual: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
        """Of a client. Raises StartError for options that would undo what is promised."""
        if taken := sorted(_OURS & set(self.options)):
            raise StartError(f"PRODUCT_SEARCH_KAFKA_OPTIONS 里不能有 {'、'.join(taken)}")
        servers = {"bootstrap.servers": self.servers}
        return {**_COMMON, **usual, **self.options, **ours, **servers}


class _Trouble:
    """Librdkafka's word of what is wrong: told in the log, though not over and over."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def __call__(self, error: kafka.KafkaError) -> None:
        now = time.monotonic()
        if now >= self._told.get(error.name(), float("-inf")) + _QUIET_S:
            self._told[error.name()] = now
            log.warning("Kafka: %s", error.str())


def _opened(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except kafka.KafkaException as error:
        reason = error.args[0].str()
        raise StartError(f"PRODUCT_SEARCH_KAFKA_OPTIONS 无法使用：{reason}") from error


class Publisher:
    """Publishes events, each once and in order as long as Kafka can be reached.

    Raises StartError where an option can't be used; whether Kafka answers is not asked.
    """

    def __init__(self, topic: KafkaTopic) -> None:
        self._topic = topic
        self._configuration = topic.configuration(_PRODUCER, _OURS_TO_PRODUCE)
        self._trouble = _Trouble()
        self._open()

    def publish(self, events: Sequence[IndexEvent]) -> list[IndexEvent]:
        """Those that Kafka has acknowledged, in the end or before time was up."""
        delivered: list[IndexEvent] = []
        for event in events:
            self._produce(
                self._topic.name,
                str(event.product_id).encode(),
                event.model_dump_json().encode(),
                [],
                partial(delivered.append, event),
            )
        self._wait()
        return delivered

    def bury(self, message: kafka.Message, reason: str) -> None:
        """Put what is no event into the dead-letter topic. Raises KafkaUnavailable."""
        headers: Headers = [
            ("reason", reason),
            ("topic", message.topic()),
            ("partition", str(message.partition())),
            ("offset", str(message.offset())),
        ]
        key, value = ((part or b"")[:_MAX_KEPT_BYTES] for part in (message.key(), message.value()))
        delivered: list[str] = []
        self._produce(self._topic.dead, key, value, headers, partial(delivered.append, reason))
        self._wait()
        if not delivered:
            raise KafkaUnavailable(f"{self._topic.dead} takes no dead letter")

    def close(self) -> None:
        """Give up what Kafka has not acknowledged: it was never told as delivered."""
        self._producer.purge()
        with suppress(*_FATAL):
            self._producer.flush(1)

    def _open(self) -> None:
        configuration = {**self._configuration, "error_cb": self._trouble}
        self._producer: kafka.Producer = _opened(lambda: kafka.Producer(configuration))

    def _produce(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Headers,
        on_delivered: Callable[[], object],
    ) -> None:
        def report(error: kafka.KafkaError | None, _message: object) -> None:
            if error is None:
                on_delivered()
            else:
                self._trouble(error)

        try:
            self._producer.produce(topic, value, key, headers=headers, on_delivery=report)
        except kafka.KafkaException as error:  # refused by the client itself
            self._trouble(error.args[0])

    def _wait(self) -> None:
        """Until Kafka has answered for every message, or its time was up.

        A producer that is out of step with its brokers for good is replaced.
        """
        try:
            self._producer.flush()  # ends: each message has a time limit
        except _FATAL as error:
            log.warning("Kafka: the producer begins anew: %s", error)
            self._open()


@dataclass(frozen=True)
class MessageBatch:
    """Messages in hand: the products that they name, each once, and their places in the topic."""

    product_ids: Sequence[int]
    first: Sequence[kafka.TopicPartition]
    after: Sequence[kafka.TopicPartition]


class Consumer:
    """Consumes the topic as one of its group; commits by hand, for one thread.

    Raises StartError where an option can't be used; whether Kafka answers is not asked.
    """

    def __init__(self, topic: KafkaTopic) -> None:
        self.buried = 0
        self._graveyard = Publisher(topic)
        ours = _OURS_TO_CONSUME | {"group.id": topic.group, "error_cb": _Trouble()}
        configuration = topic.configuration(_CONSUMER, ours)
        self._consumer: kafka.Consumer = _opened(lambda: kafka.Consumer(configuration))
        self._joins: list[str] = [topic.name]  # with the first take: till then it is no member

    def take(self, limit: int, wait_s: float) -> MessageBatch | None:
        """The next messages, up to so many; None where none came in that time.

        What is no event is in the dead-letter topic by then.

        Raises:
            KafkaUnavailable: it could not be put there; the same messages come again.
        """
        if self._joins:
            self._consumer.subscribe(self._joins)
            self._joins = []
        first = self._consumer.poll(wait_s)
        if first is None:
            return None
        came = [first, *self._consumer.consume(limit - 1, _LINGER_S)] if limit > 1 else [first]
        messages = [message for message in came if _is_sound(message)]
        if not messages:
            return None
        batch = MessageBatch([], _places(reversed(messages), 0), _places(messages, 1))
        try:
            events = [event for message in messages if (event := self._read(message))]
        except KafkaUnavailable:
            self.rewind(batch)
            raise
        return MessageBatch(
            list(dict.fromkeys(e.product_id for e in events)), batch.first, batch.after
        )

    def commit(self, batch: MessageBatch) -> None:
        """The batch is done with. Where that can't be saved, another member does it once more."""
        try:
            self._consumer.commit(offsets=list(batch.after), asynchronous=False)
        except kafka.KafkaException as error:  # a rebalance, or Kafka is down
            log.warning("Kafka: a batch that is done may come again: %s", error.args[0].str())

    def rewind(self, batch: MessageBatch) -> None:
        """The batch could not be done: it comes again."""
        for place in batch.first:
            try:
                self._consumer.seek(place)
            except kafka.KafkaException as error:  # no longer ours: it comes to another member
                log.info("Kafka: %s", error.args[0].str())

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        self._consumer.close()
        self._graveyard.close()

    def _read(self, message: kafka.Message) -> IndexEvent | None:
        value = message.value() or b""
        try:
            if len(value) > MAX_MESSAGE_BYTES:
                raise ValueError(f"{len(value)} bytes, {MAX_MESSAGE_BYTES} at most")
            return IndexEvent.model_validate_json(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
        except ValueError as error:
            reason = str(error)
        self._graveyard.bury(message, reason)
        self.buried += 1
        place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
        log.error("Kafka: %s is no event (%s): dead letter %d", place, reason, self.buried)
        return None


def _is_sound(message: kafka.Message) -> bool:
    """A message, and no word about the topic in a message's place."""
    error = message.error()
    if error is not None:
        log.warning("Kafka: %s", error.str())
    return error is None


def _places(messages: Any, offset: int) -> list[kafka.TopicPartition]:
    """By partition: the place of the last of these messages, and so much further."""
    last = {(message.topic(), message.partition()): message.offset() for message in messages}
    return [kafka.TopicPartition(*where, last[where] + offset) for where in sorted(last)]
