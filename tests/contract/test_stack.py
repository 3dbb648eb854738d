"""The service as docker-compose.yml runs it: API and worker as processes, MySQL, a Milvus server.

The stores are those that the environment names, or a Milvus that the tests start.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from orm_models import Database
from tests.contract.conftest import (
    MILVUS_INDEX_TYPE,
    MILVUS_TOKEN,
    MILVUS_URI,
    empty_tables,
    mysql_url,
)
from tests.servers import running_worker, started_api

DEADLINE_S = 120


@pytest.fixture
def stack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of compose's services, for processes, over an empty database."""
    url = mysql_url()
    database = Database(url)
    empty_tables(database)
    database.close()
    monkeypatch.setenv("PRODUCT_SEARCH_DATABASE_URL", url)
    monkeypatch.setenv("PRODUCT_SEARCH_INDEX_IN_PROCESS", "false")
    uri, index_type = os.environ.get(MILVUS_URI), os.environ.get(MILVUS_INDEX_TYPE, "")
    if uri is None:
        uri, index_type = request.getfixturevalue("network").place.uri, "FLAT"
    monkeypatch.setenv("PRODUCT_SEARCH_MILVUS_URI", uri)
    monkeypatch.setenv("PRODUCT_SEARCH_MILVUS_INDEX_TYPE", index_type)
    monkeypatch.setenv("PRODUCT_SEARCH_MILVUS_TOKEN", os.environ.get(MILVUS_TOKEN, ""))


def titles(api: httpx.Client, **query: object) -> list[str]:
    answer = (
        api.post("/search", json={"top_k": 3, "min_confidence": 0, **query})
        .raise_for_status()
        .json()
    )
    return [hit["product"]["title"] for hit in answer["hits"]]


@pytest.mark.usefixtures("stack")
def test_what_the_api_writes_the_worker_indexes_and_the_api_finds(
    tmp_path: Path, sample_image: Callable[[str], bytes]
) -> None:
    with (
        started_api(tmp_path) as address,
        running_worker(tmp_path),
        httpx.Client(base_url=address, timeout=60) as api,
    ):
        made = {}
        for title, picture in (("红色双肩包", "1f392-red.webp"), ("红富士苹果", "1f34e.webp")):
            files = {"image": sample_image(picture)}
            answer = api.post("/product?wait=true", data={"title": title}, files=files)
            assert (answer.status_code, answer.json()["index_status"]) == (201, "indexed")
            made[title] = answer.json()["product_id"]
        assert titles(api, mode="text_to_text", text="书包")[0] == "红色双肩包"
        assert titles(api, mode="text_to_image", text="苹果")[0] == "红富士苹果"
        changed = api.patch(f"/product/{made['红富士苹果']}?wait=true", json={"title": "蓝色雨伞"})
        assert changed.json()["index_status"] == "indexed"
        assert titles(api, mode="text_to_text", text="下雨天用")[0] == "蓝色雨伞"
        api.delete(f"/product/{made['红色双肩包']}").raise_for_status()
        assert titles(api, mode="text_to_text", text="书包") == ["蓝色雨伞"]
        deadline = time.monotonic() + DEADLINE_S
        while api.get("/health").json()["outbox"]["pending"]:
            assert time.monotonic() < deadline, "the deletion is not carried out"
            time.sleep(0.05)
        assert api.get("/health").json()["status"] == "ok"
