"""Indexing what Kafka's messages name."""

from __future__ import annotations

from product_search.indexing.indexer import Indexer
from product_search.outbox.kafka import Consumer

POLL_S = 0.5


def consume(member: Consumer, indexer: Indexer, limit: int) -> int:
    """Index the products of the next messages, then commit these; how many products they named.

    A product that nobody waits for, that is claimed, pauses or stays locked, is passed over: the
    first is a duplicate, the others are published again when they are due.

    Raises what apply_products raises, and KafkaUnavailable; the messages then come again.
    """
    batch = member.take(limit, POLL_S)
    if batch is None:
        return 0
    try:
        indexer.apply_products(batch.product_ids)
    except Exception:  # whatever it was, the messages must come again
        member.rewind(batch)
        raise
    member.commit(batch)
    return len(batch.product_ids)
