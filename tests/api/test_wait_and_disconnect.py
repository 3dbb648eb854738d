"""Requests that end otherwise than they began: the product goes away, or the client does."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.settings import Settings
from tests.api.helpers import code_of, create, listed, resources
from tests.clock import until
from tests.servers import free_port, service_environment, stop

DEADLINE_S = 120.0


@pytest.fixture(scope="module")
def still(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service whose index stands still, so that every wait is a long one."""
    with TestClient(create_app(open_settings()), raise_server_exceptions=False) as api:
        resources(api).indexing_loop.stop()
        resources(api).settings.wait_timeout_s = DEADLINE_S
        yield api


def test_a_product_deleted_while_its_creator_waits_was_created(still: TestClient) -> None:
    sent = {"title": "很快就删", "sku": "SOON"}
    with ThreadPoolExecutor(1) as other:
        answer = other.submit(still.post, "/product?wait=true", json=sent)
        until(lambda: listed(still, q="很快就删")["total"] == 1, "the creation")
        made = listed(still, q="很快就删")["items"][0]
        assert still.delete(f"/product/{made['product_id']}").status_code == 204
        created = answer.result(DEADLINE_S)
    assert created.status_code == 201, created.text
    assert created.json() == made | {"duplicates": []}
    assert code_of(still.get(f"/product/{made['product_id']}")) == (404, "product_not_found")


def test_a_product_deleted_while_its_changer_waits_was_changed(still: TestClient) -> None:
    product = create(still, title="改名之前")
    url = f"/product/{product['product_id']}"
    with ThreadPoolExecutor(1) as other:
        answer = other.submit(still.patch, f"{url}?wait=true", json={"title": "改名之后"})
        until(lambda: bool(still.get(url).json()["title"] == "改名之后"), "the change")
        assert still.delete(url).status_code == 204
        changed = answer.result(DEADLINE_S)
    assert (changed.status_code, changed.json()["title"]) == (200, "改名之后")


def test_a_wait_ends_with_its_time_and_the_product_as_it_is(
    still: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources(still).settings, "wait_timeout_s", 0.05)
    made = create(still, wait=True, title="等不到")
    assert made["index_status"] == "pending"
    assert still.get(f"/product/{made['product_id']}").json() == made


@dataclass(frozen=True)
class Service:
    """A real service, and the file that its output goes to."""

    port: int
    output: Path
    process: subprocess.Popen[str]

    def is_healthy(self) -> bool:
        assert self.process.poll() is None, self.output.read_text("utf-8")
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=DEADLINE_S)
        except httpx.TransportError:
            return False
        return answer.status_code == 200


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    port, output = free_port(), tmp_path / "output.txt"
    (tmp_path / "data").mkdir()
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "main:app", "--port", str(port)],
            cwd=tmp_path / "data",
            env=os.environ | service_environment(tmp_path / "data"),
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running = Service(port, output, process)
        try:
            until(running.is_healthy, "the start")
            yield running
        finally:
            stop(process)


MULTIPART = "multipart/form-data; boundary=xyz"
BODIES = {
    "json": ("application/json", b'{"title": "half a ti'),
    "form": (
        MULTIPART,
        b'--xyz\r\nContent-Disposition: form-data; name="title"\r\n\r\nhalf\r\n--xyz\r\nContent-Di',
    ),
    "nothing": ("application/json", b""),
    "file": (
        MULTIPART,
        b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        + b"a" * 5000,
    ),
}
ROUTES = ["POST /product", "POST /product?wait=true", "PATCH /product/1", "POST /search"]


def hang_up_in_the_middle(port: int, route: str, body: tuple[str, bytes], *, reset: bool) -> None:
    """Send less than was announced, and close the connection or tear it down."""
    media_type, content = body
    length = "Content-Length: 100000"
    head = f"{route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n{length}"
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as client:
        client.sendall(f"{head}\r\n\r\n".encode() + content)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_clients_that_hang_up_in_the_middle_leave_no_trace(service: Service) -> None:
    address = f"http://127.0.0.1:{service.port}"
    made: dict[str, Any] = httpx.post(f"{address}/product", json={"title": "原样"}).json()
    threads = [
        threading.Thread(
            target=hang_up_in_the_middle, args=(service.port, route, body), kwargs={"reset": reset}
        )
        for route in ROUTES
        for body in BODIES.values()
        for reset in (False, True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert service.is_healthy()
    page = httpx.get(f"{address}/product/list").json()
    assert [(item["product_id"], item["title"]) for item in page["items"]] == [
        (made["product_id"], "原样")
    ]
    stop(service.process)  # it ends what is in hand before it ends itself
    output = service.output.read_text("utf-8")
    assert "Uvicorn running" in output
    for word in ("Traceback", "ClientDisconnect", "Exception", "ERROR"):
        assert word not in output, output
