"""A Milvus that answers late, or not at all: searches wait for it, and nothing else does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx

from main import create_app
from product_search.settings import Settings
from tests.api.serving import PATIENCE_S, serving
from tests.clock import until

CLIENTS = 8
# Of those who don't search. Less than Milvus is given to answer a ping, let alone several.
TIMEOUT_S = 4.0


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process stands still inside the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_only_searches_wait_for_a_milvus_that_hangs(
    open_settings: Callable[[], Settings],
) -> None:
    app = create_app(open_settings())
    with serving(app) as port, ThreadPoolExecutor(CLIENTS + 1) as clients:
        url = f"http://127.0.0.1:{port}"

        def state(_: int = 0) -> str:
            answer = httpx.get(f"{url}/health", timeout=TIMEOUT_S)
            assert answer.status_code == 200
            return str(answer.json()["vector_store"])

        def search() -> httpx.Response:
            return httpx.post(f"{url}/search", json={"text": "书包"}, timeout=PATIENCE_S)

        assert state() == "ok"
        connection = app.state.service.resources.collections.vector_database.connection
        with stopped(connection._source._server._p.pid):
            waiting = clients.submit(search)
            assert list(clients.map(state, range(CLIENTS))) == ["down"] * CLIENTS
            product = {"title": "书包"}
            made = httpx.post(f"{url}/product", json=product, timeout=TIMEOUT_S)
            assert made.status_code == 201
            assert httpx.get(f"{url}/product/list", timeout=TIMEOUT_S).status_code == 200
            assert not waiting.done()
        assert waiting.result().status_code == 200
        until(lambda: state() == "ok", "Milvus's return")
