"""The loops that index and that publish to Kafka, as the settings name them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from orm_models import Database
from product_search.indexing.indexer import Indexer
from product_search.indexing.kafka_consumer import consume
from product_search.outbox.kafka import Consumer, KafkaTopic, Publisher
from product_search.outbox.relay import Relay
from product_search.runs.background import Loop
from product_search.settings import Settings


@contextmanager
def open_indexing(settings: Settings, indexer: Indexer) -> Iterator[Loop]:
    """The loop that indexes what waits, with Kafka what its messages name; ended at the end.

    Raises StartError where an option of Kafka's can't be used.
    """
    topic, limit = _kafka_topic(settings), settings.index_batch_size
    with ExitStack() as stack:
        if topic is None:
            loop = Loop("indexing", lambda: indexer.apply_oldest(limit))
        else:
            member = Consumer(topic)
            stack.callback(member.close)
            # It waits for messages by itself.
            loop = Loop("indexing", lambda: consume(member, indexer, limit), idle_s=0)
        stack.callback(loop.stop)
        yield loop


@contextmanager
def running_relay(settings: Settings, database: Database) -> Iterator[Loop | None]:
    """The loop that publishes to Kafka what waits; None where the settings name no Kafka.

    Raises StartError where an option of Kafka's can't be used.
    """
    topic = _kafka_topic(settings)
    if topic is None:
        yield None
        return
    publisher = Publisher(topic)
    relay = Relay(database, publisher, timedelta(seconds=settings.kafka_republish_s))
    loop = Loop("the relay to Kafka", relay.publish_due)
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()
        publisher.close()


def _kafka_topic(settings: Settings) -> KafkaTopic | None:
    if settings.kafka_bootstrap_servers is None:
        return None
    return KafkaTopic(
        servers=settings.kafka_bootstrap_servers,
        name=settings.kafka_topic,
        group=settings.kafka_group,
        options=settings.kafka_options,
    )
