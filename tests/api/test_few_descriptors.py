"""A service that may open few files: it answers what it can, and everything afterwards."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from product_search.errors import StorageUnavailable
from product_search.images.store import ImageStore
from tests.clock import until
from tests.conftest import SAMPLE
from tests.servers import end, forked, free_port, service_environment

PICTURE = (SAMPLE / "images" / "1f34e.webp").read_bytes()
FEW = 64  # a service at rest has some 30 open


def allow_few() -> None:
    """What `ulimit -n` does."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW))


@contextmanager
def none_left() -> Iterator[None]:
    """No file can be opened in this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A service with few descriptors, once it answers."""
    port = free_port()
    environment = service_environment(tmp_path)
    process = forked(["service", str(port)], tmp_path, environment, tmp_path / "log", allow_few)
    try:
        until(lambda: process.is_alive() and status(port, "GET", "/health") == 200, "the start")
        yield port
        assert process.is_alive()
    finally:
        end(process)


def status(port: int, method: str, path: str, **body: object) -> int:
    """The status of the answer; 0 where the connection was closed."""
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            return client.request(method, path, timeout=60, **body).status_code  # type: ignore[arg-type]
    except httpx.TransportError:
        return 0


def ask_everything(port: int, number: int) -> list[int]:
    """The statuses of a product's creation with its picture, of a search and of the list."""
    query = {"mode": "text_to_text", "text": f"苹果 {number}"}
    return [
        status(port, "POST", "/product", data={"title": "苹果"}, files={"image": PICTURE}),
        status(port, "POST", "/search", json=query),
        status(port, "GET", "/product/list"),
    ]


def test_what_can_be_is_answered_and_all_is_once_there_is_room(port: int) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(20) as clients:
        for _ in range(FEW):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        answers = clients.map(lambda number: ask_everything(port, number), range(60))
        statuses = {status for answer in answers for status in answer}
    assert statuses <= {0, 200, 201, 429, 503}
    assert ask_everything(port, 0) == [201, 200, 200]
    health = httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).json()
    assert (health["database"], health["outbox"]["failed"]) == ("ok", 0)


def test_an_image_that_can_not_be_opened_now_is_not_called_lost(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    image_hash = store.save_upload(PICTURE)
    thumbnail = store.thumbnail(image_hash, 64)
    with none_left():
        with pytest.raises(StorageUnavailable):
            store.original(image_hash)
        with pytest.raises(StorageUnavailable):
            store.thumbnail(image_hash, 64)
    assert store.thumbnail(image_hash, 64) == thumbnail
