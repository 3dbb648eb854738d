"""A data disk without room, and a database that is read-only: reading goes on, writes are told."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from main import create_app
from product_search.errors import VectorStoreUnavailable
from product_search.settings import Settings
from tests.api.helpers import Answer, base64_of, code_of, create_all, ids, resources, search
from tests.clock import until
from tests.contract.entities import DIMS, entity
from tests.unit.pictures import encoded, noise
from vector_db import MilvusDatabase

FULL = {"database_not_writable", "storage_unavailable"}
PHOTO = encoded(noise((60, 50)), "PNG")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 96 MB, which the test may fill."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """The disk without room inside the block."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as stream:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        stream.write(bytes(size))
                except OSError:
                    continue
        yield
    finally:
        filler.unlink()


@pytest.fixture
def service(disk: Path, open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service on the disk with some products."""
    settings = open_settings().model_copy(update={"data_dir": disk / "data"})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        rows = [{"title": "红色双肩包", "image_base64": base64_of(PHOTO)}, {"title": "保温杯"}]
        create_all(client, rows)
        yield client


def writes(service: TestClient, product_id: int) -> Iterator[Answer]:
    """The answer of each kind of write, which takes more room than the database has left over."""
    attributes: dict[str, Any] = {f"名{place}": "值" * 60 for place in range(40)}
    text = {"title": "书包", "description": "很长" * 2000, "attributes": attributes}
    while (answer := service.post("/product", json=text)).status_code == 201:
        pass  # what the database had set aside
    yield answer
    image = {"image_base64": base64_of(encoded(noise((90, 90)), "PNG"))}
    yield service.post("/product", json={"title": "书包"} | image)
    yield service.patch(f"/product/{product_id}", json={"title": "书包"})
    yield service.delete(f"/product/{product_id}")
    yield service.post("/system/drift")


def test_on_a_full_disk_writes_are_told_and_reading_goes_on(
    service: TestClient, disk: Path
) -> None:
    cup, bag = (one["product_id"] for one in service.get("/product/list").json()["items"])
    with filled(disk):
        for answer in writes(service, cup):
            status, code = code_of(answer)
            assert (status, code in FULL) == (503, True), answer.json()
            assert int(answer.headers["retry-after"]) > 0
        for path in (f"/product/{bag}", f"/product/{bag}/image", f"/product/{bag}/image?size=64"):
            assert service.get(path).status_code == 200
        assert ids(search(service, "text_to_text", text="红色双肩包"))[0] == bag
        health = service.get("/health").json()
        assert (health["status"], health["storage"]) == ("degraded", "down")
        assert "数据文件夹：磁盘已满" in health["reasons"]

    def is_well() -> bool:
        told = service.get("/health").json()
        return bool(told["status"] == "ok" and not told["outbox"]["pending"])

    until(is_well, "the return")
    changed = service.patch(f"/product/{cup}?wait=true", json={"title": "登山鞋"})
    assert changed.json()["index_status"] == "indexed"
    assert resources(service).entities.count() == service.get("/product/list").json()["total"]


def test_milvus_lite_is_given_nothing_that_its_disk_has_no_room_for(disk: Path) -> None:
    """It says that all is well, and the rows are gone at the next start."""
    vector_database = MilvusDatabase(disk / "milvus.db", "a")
    entities = vector_database.ensure_collection("product_v1_0123456789ab", DIMS)
    many = [entity(key, search_text="书包 " * 2000) for key in range(1, 200)]
    with filled(disk), pytest.raises(VectorStoreUnavailable, match="磁盘已满"):
        entities.upsert(many)
    entities.upsert(many)
    vector_database.close()
    vector_database = MilvusDatabase(disk / "milvus.db", "a")
    try:
        entities = vector_database.open_collection("product_v1_0123456789ab")
        assert entities.count() == len(many)
    finally:
        vector_database.close()


def test_of_a_database_that_is_read_only_writes_are_told_and_reading_goes_on(
    api: TestClient,
) -> None:
    (product,) = create_all(api, [{"title": "书包"}])
    url = f"/product/{product['product_id']}"
    with read_only(api):
        for answer in (
            api.post("/product", json={"title": "保温杯"}),
            api.patch(url, json={"title": "登山鞋"}),
            api.delete(url),
            api.post("/system/repair"),
        ):
            assert code_of(answer) == (503, "database_not_writable")
        assert api.get(url).json() == product
    assert api.patch(url, json={"title": "登山鞋"}).status_code == 200


@contextmanager
def read_only(api: TestClient) -> Iterator[None]:
    """SQLite refuses writes inside the block, as it does where its file is read-only."""
    engine = resources(api).database.engine

    def forbid(is_on: bool) -> None:
        engine.dispose()

        @event.listens_for(engine, "connect")
        def _configure(connection: Any, _record: object) -> None:
            connection.execute(f"PRAGMA query_only={'ON' if is_on else 'OFF'}")

    forbid(True)
    try:
        yield
    finally:
        forbid(False)
