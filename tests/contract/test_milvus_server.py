"""A Milvus server: shared, lost and back again, and asked in messages that it takes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from data_models import VectorField
from product_search.errors import StartError, VectorStoreUnavailable
from product_search.milvus.collection import MilvusCollection
from product_search.milvus.entities import MESSAGE_BYTES
from product_search.milvus.options import Consistency, MilvusOptions, MilvusServer
from tests.contract.entities import ALL, BGE, DIMS, entity, found, unit
from tests.milvus_servers import NetworkMilvus
from tests.servers import free_port
from vector_db import MilvusDatabase

NAME = "product_v1_0123456789ab"
SECRET = "root:geheim"
# The server that the tests start knows these indexes alone; a real one would take HNSW.
FLAT = MilvusOptions(index_type="FLAT")


def connected(network: NetworkMilvus, options: MilvusOptions = FLAT) -> MilvusDatabase:
    return MilvusDatabase(network.place, "a", options)


@pytest.fixture
def server(network: NetworkMilvus) -> Iterator[MilvusDatabase]:
    """A connection to the server."""
    server = connected(network)
    yield server
    server.close()


@pytest.fixture
def entities(server: MilvusDatabase) -> MilvusCollection:
    """An empty collection on the server."""
    server.drop_collection(NAME)
    return server.ensure_collection(NAME, DIMS)


def test_two_connections_see_what_either_writes(
    network: NetworkMilvus, entities: MilvusCollection
) -> None:
    other = connected(network)
    others = other.ensure_collection(NAME, DIMS)
    entities.upsert([entity(1)])
    others.upsert([entity(2)])
    assert sorted(found(entities)) == sorted(found(others)) == [1, 2]
    other.close()
    assert entities.count() == 2


def test_a_collection_that_many_make_at_once_is_made_once(network: NetworkMilvus) -> None:
    servers = [connected(network) for _ in range(6)]
    servers[0].drop_collection(NAME)
    together = threading.Barrier(len(servers))

    def start(place: int) -> MilvusCollection:
        together.wait()
        entities = servers[place].ensure_collection(NAME, DIMS)
        entities.upsert([entity(place + 1)])
        return entities

    with ThreadPoolExecutor(len(servers)) as threads:
        opened = list(threads.map(start, range(len(servers))))
    assert [entities.count() for entities in opened] == [len(servers)] * len(servers)
    for server in servers:
        server.close()


def test_a_start_that_ended_before_the_indexes_were_made_is_made_good(
    network: NetworkMilvus, server: MilvusDatabase
) -> None:
    server.drop_collection(NAME)
    server._create(NAME, DIMS)
    again = connected(network)
    entities = again.ensure_collection(NAME, DIMS)
    entities.upsert([entity(1)])
    assert found(entities) == [1]
    again.close()


def test_a_lost_server_is_an_outage_and_its_return_is_noticed(
    network: NetworkMilvus, server: MilvusDatabase, entities: MilvusCollection
) -> None:
    entities.upsert([entity(1)])
    network.kill()
    for _ in range(2):
        for call in (
            entities.ping,
            entities.count,
            lambda: entities.search(BGE, unit(0), 10, ALL),
            lambda: entities.scan(-1, 10),
            lambda: entities.upsert([entity(2)]),
            lambda: entities.delete([1]),
            lambda: server.has_collection(NAME),
        ):
            with pytest.raises(VectorStoreUnavailable):
                call()
    network.start()
    assert until_it_answers(entities) == 1
    entities.upsert([entity(2, unit(1))])
    assert found(entities) == [1, 2]


def until_it_answers(entities: MilvusCollection) -> int:
    """The connection waits a little longer after each attempt that failed."""
    pause = threading.Event()
    for _ in range(300):
        try:
            return entities.count()
        except VectorStoreUnavailable:
            pause.wait(0.1)
    raise AssertionError("Milvus does not recover")


def test_a_server_that_is_not_there_is_named_and_its_token_is_not() -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(VectorStoreUnavailable) as caught:
        MilvusDatabase(MilvusServer(uri, SECRET), "a")
    assert uri in str(caught.value)
    assert "geheim" not in f"{caught.value} {caught.value.__cause__} {MilvusServer(uri, SECRET)}"


def test_an_index_that_the_server_refuses_is_named(network: NetworkMilvus) -> None:
    server = connected(network, MilvusOptions())
    with pytest.raises(StartError, match="HNSW"):
        server.ensure_collection("product_v1_refused", DIMS)
    server.drop_collection("product_v1_refused")
    server.close()


def test_an_index_that_differs_from_the_setting_is_kept_and_said(
    network: NetworkMilvus, entities: MilvusCollection, caplog: pytest.LogCaptureFixture
) -> None:
    other = connected(network, MilvusOptions(index_type="IVF_FLAT"))
    with caplog.at_level(logging.WARNING):
        others = other.ensure_collection(NAME, DIMS)
    assert "FLAT, not IVF_FLAT" in caplog.text
    others.upsert([entity(1)])
    assert found(others) == [1]
    other.close()


@pytest.mark.parametrize("level", ["Strong", "Bounded", "Session", "Eventually"])
def test_a_search_names_its_consistency_and_a_count_is_always_strong(
    network: NetworkMilvus, level: Consistency, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = connected(network, MilvusOptions(index_type="FLAT", consistency=level))
    entities = server.ensure_collection(NAME, DIMS)
    asked = watched(server, monkeypatch, "search", "query")
    found(entities)
    entities.count()
    assert asked == [level, "Strong"]
    server.close()


def watched(server: MilvusDatabase, monkeypatch: pytest.MonkeyPatch, *methods: str) -> list[str]:
    """The consistency levels that the client is then asked for; it answers as ever."""
    asked: list[str] = []
    client, _ = server.connection.client()

    def watch(method: str) -> None:
        real = getattr(client, method)

        def ask(*arguments: Any, **named: Any) -> Any:
            asked.append(named["consistency_level"])
            return real(*arguments, **named)

        monkeypatch.setattr(client, method, ask)

    for method in methods:
        watch(method)
    return asked


def test_what_is_written_at_once_goes_in_messages_that_a_server_takes(
    server: MilvusDatabase, entities: MilvusCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = server.connection.client()
    sizes: list[int] = []
    real = client._handler._stub.Upsert

    def upsert(message: Any, **named: Any) -> Any:
        sizes.append(message.ByteSize())
        return real(message, **named)

    monkeypatch.setattr(client._handler._stub, "Upsert", upsert)
    title, label = "🎒" * 500, "\x01" * 100
    entities.upsert(
        [entity(key, title=title, brand=label, category=label) for key in range(1, 13_001)]
    )
    assert entities.count() == 13_000
    assert len(sizes) == 3
    assert max(sizes) <= MESSAGE_BYTES
    assert sum(sizes) > 2 * MESSAGE_BYTES
    entities.delete(range(1, 13_001))
    assert entities.count() == 0


def test_the_collection_takes_the_longest_texts_by_bytes(
    server: MilvusDatabase, entities: MilvusCollection
) -> None:
    client, _ = server.connection.client()
    fields = client.describe_collection(NAME)["fields"]
    bytes_of = {f["name"]: f["params"].get("max_length") for f in fields}
    assert bytes_of["title"] >= len(("🎒" * 500).encode())
    assert bytes_of["brand"] == bytes_of["category"] >= len(("\\x01" * 100).encode())
    assert {field.value for field in VectorField} < set(bytes_of)


def test_a_scan_keeps_the_limit_where_each_shard_gives_its_own(
    server: MilvusDatabase, entities: MilvusCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milvus 2.3.5 with two shards was seen to answer limit 10 by 19 rows."""
    entities.upsert([entity(key) for key in range(1, 41)])
    client, _ = server.connection.client()
    real = client.query

    def query(*arguments: Any, **named: Any) -> Any:
        condition = named.pop("filter")
        parts = [f"{condition} and primary_key {side} 10" for side in (">", "<=")]
        return [row for part in parts for row in real(*arguments, filter=part, **named)]

    monkeypatch.setattr(client, "query", query)
    assert [state.milvus_id for state in entities.scan(-1, 10)] == list(range(1, 11))
    assert [state.milvus_id for state in entities.scan(4, 10)] == list(range(5, 15))
