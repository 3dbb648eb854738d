"""Kafka: outbox events as messages, a publisher, and a consumer in a group.

A message ends in `Indexer.consume` of indexing.indexer: the products that it names are indexed,
and its offset is committed.
"""

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
from product_search.context import is_request_id, within_request
from product_search.errors import KafkaUnavailable, StartError

log = logging.getLogger(__name__)

Headers = list[tuple[str, str | bytes | None]]

MAX_MESSAGE_BYTES = 4_000  # an event has about 120
_MAX_KEPT_BYTES = 64_000  # of a dead letter, whose whole is in the topic that it came from
_LINGER_S = 0.05  # how long a batch is filled after its first message
_QUIET_S = 30.0  # the same error is logged this often

REQUEST_ID = "request_id"  # the header that names the request in which the event was written

_COMMON: dict[str, Any] = {
    "log_level": 2,  # `_ErrorLog` tells of a broker that is down, not 20 times a second
    "reconnect.backoff.max.ms": 2_000,
    "topic.metadata.refresh.interval.ms": 10_000,
    "allow.auto.create.topics": True,
}
_PRODUCER: dict[str, Any] = {"message.timeout.ms": 5_000, "linger.ms": 5}
_CONSUMER: dict[str, Any] = {"session.timeout.ms": 10_000}
# Without these, events could be lost: no option changes them.
_FIXED_PRODUCER: dict[str, Any] = {"enable.idempotence": True, "acks": "all"}
_FIXED_CONSUMER: dict[str, Any] = {"enable.auto.commit": False, "auto.offset.reset": "earliest"}
# What the client raises at a fatal error: the second where a delivery report follows it.
_FATAL = (kafka.KafkaException, SystemError)
_FIXED = {"bootstrap.servers", "group.id", *_FIXED_PRODUCER, *_FIXED_CONSUMER}


class IndexEvent(BaseModel):
    """An outbox event as a message, whose key is the product_id: a product keeps its order."""

    # Fields and operations of a later release pass: while one is rolled out both are at work.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    event_id: int = Field(ge=1, le=INT64_MAX)
    product_id: int = Field(ge=-INT64_MAX, le=INT64_MAX)  # below 0: of an entity without a product
    milvus_id: int = Field(ge=0, le=INT64_MAX)
    operation: str = Field(min_length=1, max_length=16)
    revision: int = Field(ge=0, le=INT64_MAX)
    request_id: str | None = Field(None, exclude=True)  # in which it was written: a header


@dataclass(frozen=True)
class KafkaTopic:
    """Where events go: the brokers, the topic, the group that consumes it, librdkafka's options."""

    servers: str
    name: str
    group: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)  # passwords among them

    @property
    def dead(self) -> str:
        """The dead-letter topic, for messages that are no events."""
        return f"{self.name}.dead"

    def configuration(self, usual: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
        """Return a client's configuration: the options go over the usual, the fixed over all.

        Raises:
            StartError: an option is one of the fixed.
        """
        if clashes := sorted(_FIXED & set(self.options)):
            raise StartError(f"PRODUCT_SEARCH_KAFKA_OPTIONS 里不能有 {'、'.join(clashes)}")
        servers = {"bootstrap.servers": self.servers}
        return {**_COMMON, **usual, **self.options, **fixed, **servers}


class _ErrorLog:
    """Callback that logs librdkafka's errors, the same error every `_QUIET_S` seconds at most."""

    def __init__(self) -> None:
        self._logged_at: dict[str, float] = {}

    def __call__(self, error: kafka.KafkaError) -> None:
        now = time.monotonic()
        if now >= self._logged_at.get(error.name(), float("-inf")) + _QUIET_S:
            self._logged_at[error.name()] = now
            log.warning("Kafka: %s", error.str())


def _open_client(client: Callable[[dict[str, Any]], Any], configuration: dict[str, Any]) -> Any:
    try:
        return client(configuration)
    except kafka.KafkaException as error:
        reason = error.args[0].str()
        raise StartError(f"PRODUCT_SEARCH_KAFKA_OPTIONS 无法使用：{reason}") from error


class Publisher:
    """Publishes events, each once and in order as long as Kafka can be reached."""

    def __init__(self, topic: KafkaTopic) -> None:
        """Open the client, without waiting for Kafka.

        Raises:
            StartError: an option can't be used.
        """
        self._topic = topic
        self._configuration = topic.configuration(_PRODUCER, _FIXED_PRODUCER)
        self._log_error = _ErrorLog()
        self._open()

    def publish(self, events: Sequence[IndexEvent]) -> list[IndexEvent]:
        """Publish the events; return those that Kafka acknowledged before time was up."""
        delivered: list[IndexEvent] = []
        for event in events:
            self._produce(
                self._topic.name,
                str(event.product_id).encode(),
                event.model_dump_json().encode(),
                [] if event.request_id is None else [(REQUEST_ID, event.request_id)],
                partial(delivered.append, event),
            )
        self._wait()
        return delivered

    def publish_dead_letter(self, message: kafka.Message, reason: str) -> None:
        """Put a message that is no event into the dead-letter topic.

        Raises:
            KafkaUnavailable: Kafka has not acknowledged it.
        """
        request_id = _request_id(message)
        headers: Headers = [
            *([] if request_id is None else [(REQUEST_ID, request_id)]),
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
        """Close the client, and drop what Kafka has not acknowledged."""
        self._producer.purge()
        with suppress(*_FATAL):
            self._producer.flush(1)

    def _open(self) -> None:
        configuration = {**self._configuration, "error_cb": self._log_error}
        self._producer: kafka.Producer = _open_client(kafka.Producer, configuration)

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
                self._log_error(error)

        try:
            self._producer.produce(topic, value, key, headers=headers, on_delivery=report)
        except kafka.KafkaException as error:  # refused by the client itself
            self._log_error(error.args[0])

    def _wait(self) -> None:
        """Wait until Kafka has answered for every message, or its time was up.

        A producer that is out of step with its brokers for good is replaced.
        """
        try:
            self._producer.flush()  # ends: each message has a time limit
        except _FATAL as error:
            log.warning("Kafka: the producer begins anew: %s", error)
            self._open()


@dataclass(frozen=True)
class MessageBatch:
    """Messages to work on: the products that they name, each once, and where they lie in the topic.

    Attributes:
        product_ids: the products, each once.
        first: by partition, the offset of the first message.
        after: by partition, the offset after the last message.
    """

    product_ids: Sequence[int]
    first: Sequence[kafka.TopicPartition]
    after: Sequence[kafka.TopicPartition]


class Consumer:
    """Consumes the topic as a member of its group, for one thread; offsets are committed by hand.

    `dead_letters` counts the messages that were no events.
    """

    def __init__(self, topic: KafkaTopic) -> None:
        """Open the client, without waiting for Kafka; the first `poll` joins the group.

        Raises:
            StartError: an option can't be used.
        """
        self.dead_letters = 0
        self._publisher = Publisher(topic)
        fixed = _FIXED_CONSUMER | {"group.id": topic.group, "error_cb": _ErrorLog()}
        configuration = topic.configuration(_CONSUMER, fixed)
        self._consumer: kafka.Consumer = _open_client(kafka.Consumer, configuration)
        self._joins: list[str] = [topic.name]  # at the first poll: until then it is no member

    def poll(self, limit: int, wait_s: float) -> MessageBatch | None:
        """Return up to `limit` next messages; None where none came within `wait_s` seconds.

        Messages that are no events are put into the dead-letter topic.

        Raises:
            KafkaUnavailable: they could not be put there; the same messages come again.
        """
        if self._joins:
            self._consumer.subscribe(self._joins)
            self._joins = []
        first = self._consumer.poll(wait_s)
        if first is None:
            return None
        received = [first, *self._consumer.consume(limit - 1, _LINGER_S)] if limit > 1 else [first]
        messages = [message for message in received if _is_sound(message)]
        if not messages:
            return None
        batch = MessageBatch([], _places(reversed(messages), 0), _places(messages, 1))
        try:
            events = [event for message in messages if (event := self._read_as_asked(message))]
        except KafkaUnavailable:
            self.rewind(batch)
            raise
        return MessageBatch(
            list(dict.fromkeys(e.product_id for e in events)), batch.first, batch.after
        )

    def commit(self, batch: MessageBatch) -> None:
        """Commit a batch that is done; where Kafka can't save that, the batch may come again."""
        try:
            self._consumer.commit(offsets=list(batch.after), asynchronous=False)
        except kafka.KafkaException as error:  # a rebalance, or Kafka is down
            log.warning("Kafka: a batch that is done may come again: %s", error.args[0].str())

    def rewind(self, batch: MessageBatch) -> None:
        """Go back to the start of a batch that could not be done: it comes again."""
        for place in batch.first:
            try:
                self._consumer.seek(place)
            except kafka.KafkaException as error:  # no longer ours: it comes to another member
                log.info("Kafka: %s", error.args[0].str())

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        self._consumer.close()
        self._publisher.close()

    def _read_as_asked(self, message: kafka.Message) -> IndexEvent | None:
        with within_request(_request_id(message)):
            return self._read(message)

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
        self._publisher.publish_dead_letter(message, reason)
        self.dead_letters += 1
        place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
        log.error("Kafka: %s is no event (%s): dead letter %d", place, reason, self.dead_letters)
        return None


def _is_sound(message: kafka.Message) -> bool:
    """Return whether it is a message, and no error in a message's place, which is logged."""
    error = message.error()
    if error is not None:
        log.warning("Kafka: %s", error.str())
    return error is None


def _request_id(message: kafka.Message) -> str | None:
    """Return the id of the message's request, if it bears one."""
    headers: Any = message.headers() or ()
    for name, value in headers:
        if name == REQUEST_ID and isinstance(value, bytes):
            text = value.decode("ascii", "replace")
            return text if is_request_id(text) else None
    return None


def _places(messages: Any, offset: int) -> list[kafka.TopicPartition]:
    """Return by partition the offset of the last of these messages, plus `offset`."""
    last = {(message.topic(), message.partition()): message.offset() for message in messages}
    return [kafka.TopicPartition(*where, last[where] + offset) for where in sorted(last)]
