"""The whole service on every database: written, found, killed off and found again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from main import create_app
from orm_models import Database
from product_search.errors import StartError
from product_search.indexing import reindex
from product_search.settings import Settings
from tests.api.helpers import resources
from tests.contract.conftest import empty_tables, mysql_url
from tests.milvus_servers import NetworkMilvus
from tests.unit.checkpoints import write_clip


@pytest.fixture(params=["sqlite", "mysql"])
def settings(request: pytest.FixtureRequest, open_settings: Callable[[], Settings]) -> Settings:
    """Settings of a service over an empty database of this kind."""
    settings = open_settings()
    if request.param == "mysql":
        url = mysql_url()
        database = Database(url)
        empty_tables(database)
        database.close()
        settings = settings.model_copy(update={"database_url": url})
    return settings


def found(client: TestClient, **query: object) -> list[str]:
    answer = client.post("/search", json={"top_k": 5, "min_confidence": 0, **query})
    assert answer.status_code == 200, answer.text
    return [hit["product"]["title"] for hit in answer.json()["hits"]]


def test_what_is_written_is_found_in_every_mode_and_after_a_restart(
    settings: Settings, sample_image: Callable[[str], bytes]
) -> None:
    with TestClient(create_app(settings)) as client:
        for title, picture in (("红色双肩包", "1f392-red.webp"), ("红富士苹果", "1f34e.webp")):
            answer = client.post(
                "/product?wait=true",
                data={"title": title, "price": "19.90", "category": "😀'\"\\"},
                files={"image": sample_image(picture)},
            )
            assert (answer.status_code, answer.json()["index_status"]) == (201, "indexed")
        gone = client.post("/product?wait=true", json={"title": "要删除的苹果"}).json()
        assert client.delete(f"/product/{gone['product_id']}").status_code == 204
        assert client.patch("/product/1?wait=true", json={"price": 0.1}).json()["price"] == "0.10"
    with TestClient(create_app(settings)) as client:
        assert found(client, mode="text_to_text", text="书包")[0] == "红色双肩包"
        assert found(client, mode="text_to_image", text="苹果")[0] == "红富士苹果"
        assert found(client, mode="image_to_image", product_id=1)[0] == "红色双肩包"
        assert found(client, mode="image_to_text", product_id=1)[0] == "红色双肩包"
        cheap = {"price": {"lte": "0.10"}, "category": "😀'\"\\"}
        assert found(client, mode="text_to_text", text="苹果", filters=cheap) == ["红色双肩包"]
        assert client.get("/health").json()["status"] == "ok"


@pytest.fixture
def on_server(open_settings: Callable[[], Settings], network: NetworkMilvus) -> Settings:
    """Settings of a service whose vectors are on a Milvus that is reached over the network."""
    server = {"milvus_uri": network.place.uri, "milvus_index_type": "FLAT"}
    return open_settings().model_copy(update=server)


def test_a_service_outlives_its_milvus_server(on_server: Settings, network: NetworkMilvus) -> None:
    query = {"mode": "text_to_text", "text": "书包"}
    with TestClient(create_app(on_server)) as client:
        assert client.post("/product?wait=true", json={"title": "红色双肩包"}).is_success
        assert found(client, **query) == ["红色双肩包"]
        assert not on_server.milvus_path.exists()
        network.kill()
        answer = client.post("/search", json=query)
        assert (answer.status_code, answer.json()["code"]) == (503, "vector_store_unavailable")
        health = client.get("/health").json()
        assert (health["status"], health["vector_store"]) == ("degraded", "down")
        assert client.post("/product", json={"title": "蓝色双肩包"}).status_code == 201
        network.start()
        until_ok(client)
        assert sorted(found(client, **query)) == ["红色双肩包", "蓝色双肩包"]
    with TestClient(create_app(on_server)) as client:
        assert sorted(found(client, **query)) == ["红色双肩包", "蓝色双肩包"]


def until_ok(client: TestClient) -> None:
    """What waited while Milvus was away is indexed soon after its return."""
    pause = threading.Event()
    for _ in range(300):
        health = client.get("/health").json()
        if health["status"] == "ok" and health["outbox"]["pending"] == 0:
            return
        pause.wait(0.2)
    raise AssertionError(f"the service does not recover: {health}")


def test_a_service_that_lacks_the_weights_gives_up_nothing_that_others_may_use(
    on_server: Settings, tmp_path: Path
) -> None:
    query = {"mode": "text_to_text", "text": "书包"}
    weights = {"clip_dir": write_clip(tmp_path / "clip"), "encoder": "auto"}
    with TestClient(create_app(on_server.model_copy(update=weights))) as client:
        client.post("/product?wait=true", json={"title": "书包"})
        other = TestClient(create_app(on_server))
        with pytest.raises(StartError, match="--give-up-active"), other:
            pass
        assert found(client, **query) == ["书包"]
        resources(client).database.write(reindex.retire_active)
    with TestClient(create_app(on_server)) as client:
        assert resources(client).encoders.name == "starter"
        client.post("/product?wait=true", json={"title": "又一个书包"})
        assert sorted(found(client, **query)) == ["书包", "又一个书包"]
