"""What the service's log says of requests, as its own command starts it."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from product_search.api.connections import MAX_HEAD
from product_search.bootstrap import logs
from product_search.settings import ROOT
from tests.api.small_app import connected, head, rest
from tests.clock import until
from tests.servers import free_port, service_environment, stop

BODY = {"prompt": "一只红色的双肩包"}


@contextmanager
def logging_service(folder: Path, log: Path, **settings: str) -> Iterator[str]:
    """The address of a service that `fastapi run` has started; its output is in the log."""
    port = free_port()
    command = [sys.executable, "-m", "fastapi", "run", str(ROOT / "main.py"), "--port", str(port)]
    with log.open("w", encoding="utf-8") as output:
        environment = os.environ | service_environment(folder) | settings
        service = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output
        )
    try:
        until(lambda: "Uvicorn running on" in log.read_text("utf-8"), "the start")
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(service)


def test_only_answers_that_failed_are_logged(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with logging_service(tmp_path, log) as address, httpx.Client(trust_env=False) as client:
        begun = len(log.read_text("utf-8"))
        assert client.get(f"{address}/metrics").status_code == 200
        assert client.get(f"{address}/product/1").status_code == 404
        assert client.get(f"{address}/product/a%0Ab").status_code == 422
        endless = head("GET", "/health")[:-2] + b"X: " + b"a" * 2 * MAX_HEAD
        with connected(httpx.URL(address).port or 0, endless) as raw:
            assert b" 413 " in rest(raw)
        # There is no model that makes pictures.
        headers = {"X-Request-ID": "a-1"}
        answer = client.post(f"{address}/generate", json=BODY, headers=headers)
        assert answer.status_code == 503
        until(lambda: len(log.read_text("utf-8")) > begun, "the line")
    lines = [line for line in log.read_text("utf-8")[begun:].splitlines() if "/" in line]
    (line,) = lines
    expected = r"WARNING: +product_search\.api\.metrics POST /generate: 503 after \d+ ms \[a-1\]"
    assert re.fullmatch(expected, line)


def test_a_service_told_to_writes_json_from_its_start_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    service = logging_service(tmp_path, log, PRODUCT_SEARCH_LOG_FORMAT="json")
    with service as address, httpx.Client(trust_env=False) as client:
        headers = {"X-Request-ID": "a-1"}
        assert client.post(f"{address}/generate", json=BODY, headers=headers).status_code == 503
        until(lambda: "/generate" in log.read_text("utf-8"), "the line")
    written = log.read_text("utf-8").splitlines()
    lines = [json.loads(line) for line in written if line.startswith("{")]
    (failed,) = [line for line in lines if line["logger"] == "product_search.api.metrics"]
    assert (failed["level"], failed["request_id"]) == ("warning", "a-1")
    assert failed["route"] == "/generate"
    (begun,) = [n for n, line in enumerate(written) if "Uvicorn running on" in line]
    assert all(line.startswith("{") for line in written[begun:])  # the shutdown's too


@pytest.fixture
def access() -> Iterator[logging.Logger]:
    """The logger of Uvicorn's lines for each request, as it is restored afterwards."""
    logger = logging.getLogger("uvicorn.access")
    before = logger.handlers[:]
    yield logger
    logger.handlers = before


def test_a_file_still_gets_every_request(access: logging.Logger, tmp_path: Path) -> None:
    console, file = logging.StreamHandler(), logging.FileHandler(tmp_path / "access.log")
    access.handlers = [console, file]
    logs.configure("service")
    file.close()
    assert access.handlers == [file]
