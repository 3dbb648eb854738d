"""The loops that index and that publish to Kafka, as the settings ask for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial

from orm_models import Database
from product_search.access.keyring import READ_EVERY_S, Keyring
from product_search.changes.listing import drop_old
from product_search.indexing.indexer import Indexer
from product_search.indexing.recovery import Recovery
from product_search.outbox.kafka import Consumer, KafkaTopic, Publisher
from product_search.outbox.relay import Relay
from product_search.runs.background import Loop
from product_search.settings import Settings
from product_search.suggestions.suggester import Suggester

log = logging.getLogger(__name__)

_LOOK_S = 2.0  # how often it is asked whether products have changed, in a small catalog
_DROP_S = 60.0  # how often old records of changes are dropped
_COUNT_S = 10.0  # how often the popular queries that were counted are written


@contextmanager
def open_indexing_loop(
    settings: Settings, indexer: Indexer, recovery: Recovery | None = None
) -> Iterator[Loop]:
    """Open the loop that indexes: the oldest events, or with Kafka what its messages name.

    Each step begins with the recovery, which only Milvus Lite's file needs. The loop is not
    started, and stopped at the end.

    Raises:
        StartError: an option of Kafka's can't be used.
    """
    topic, limit = _kafka_topic(settings), settings.index_batch_size
    with ExitStack() as stack:
        if topic is None:
            step = partial(indexer.apply_oldest, limit)
            loop = Loop("indexing", _recovered(step, recovery))
        else:
            consumer = Consumer(topic)
            stack.callback(consumer.close)
            # The step itself waits for messages.
            step = partial(indexer.consume, consumer, limit)
            loop = Loop("indexing", _recovered(step, recovery), idle_s=0)
        stack.callback(loop.stop)
        yield loop


def _recovered(step: Callable[[], int], recovery: Recovery | None) -> Callable[[], int]:
    if recovery is None:
        return step

    def recover_and_step() -> int:
        recovery.run_if_needed()
        return step()

    return recover_and_step


@contextmanager
def open_relay_loop(settings: Settings, database: Database) -> Iterator[Loop | None]:
    """Start the loop that publishes events to Kafka, stopped at the end; None without Kafka.

    Raises:
        StartError: an option of Kafka's can't be used.
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


@contextmanager
def open_keyring(settings: Settings, database: Database) -> Iterator[Keyring | None]:
    """Open the keys, with the loop that reads them again and again; None where none is required.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    if not settings.require_keys:
        yield None
        return
    keyring = Keyring(database)
    keyring.open()
    if keyring.is_empty:
        log.warning("还没有密钥，谁也进不来：python -m product_search.manage keys create NAME")
    loop = Loop("keys", keyring.refresh, idle_s=READ_EVERY_S)
    loop.start()
    try:
        yield keyring
    finally:
        loop.stop()
        keyring.note_uses()


@contextmanager
def open_upkeep_loops(
    settings: Settings, database: Database, suggester: Suggester
) -> Iterator[None]:
    """Start the loops that keep suggestions and the log of changes in order, stopped at the end."""
    loops = (
        Loop("catalog words", suggester.words.refresh_if_due, idle_s=_LOOK_S),
        Loop("popular queries", suggester.popular.exchange_if_due, idle_s=_COUNT_S),
        Loop("old changes", partial(drop_old, database, settings.changes_kept), idle_s=_DROP_S),
    )
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        suggester.popular.close()


def _kafka_topic(settings: Settings) -> KafkaTopic | None:
    if settings.kafka_bootstrap_servers is None:
        return None
    return KafkaTopic(
        servers=settings.kafka_bootstrap_servers,
        name=settings.kafka_topic,
        group=settings.kafka_group,
        options=settings.kafka_options,
    )
