"""The real API and the real pages as processes of their own, on free ports of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from product_search.settings import ROOT

_START_S = 120.0
_STOP_S = 30.0


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_api(
    data_dir: Path, port: int | None = None, **settings: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The API on this data folder: its address, and the process for a test that ends it early.

    `settings` are variables of its environment, over those of `service_environment`.
    """
    port = port or free_port()
    command = ["uvicorn", "main:app", "--port", str(port)]
    environment = service_environment(data_dir) | settings
    with _running(command, data_dir, environment, "Uvicorn running on") as process:
        yield f"http://127.0.0.1:{port}", process


def service_environment(data_dir: Path) -> dict[str, str]:
    """For a process of the project on this data folder.

    Start it in that folder, so that a developer's .env isn't read.
    """
    return {
        "PYTHONPATH": str(ROOT),
        "PRODUCT_SEARCH_DATA_DIR": str(data_dir),
        "PRODUCT_SEARCH_ENCODER": "starter",
        "PRODUCT_SEARCH_DEVICE": "cpu",
        "PRODUCT_SEARCH_INDEX_BATCH_SIZE": "16",
    }


@contextmanager
def running_worker(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker beside the API on this data folder, once it indexes."""
    environment = service_environment(data_dir)
    with _running(["product_search.worker"], data_dir, environment, "开始建立索引") as process:
        yield process


@contextmanager
def running_pages(api_url: str) -> Iterator[str]:
    """The pages over this API; their address."""
    port = free_port()
    command = ["streamlit", "run", "web_demo.py", f"--server.port={port}"]
    with _running(command, ROOT, {"PRODUCT_SEARCH_API_URL": api_url}, "URL:"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(
    module: Sequence[str], folder: Path, settings: dict[str, str], ready: str
) -> Iterator[subprocess.Popen[str]]:
    """`python -m module`, once it has printed `ready`; ended, and its output closed, at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=folder,
        env=os.environ | settings | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        try:
            _wait_for(process, ready)
            # A full pipe would stop the process.
            drain = threading.Thread(target=output.read, daemon=True)
            drain.start()
            yield process
        finally:
            stop(process)
        drain.join()


def _wait_for(process: subprocess.Popen[str], ready: str) -> None:
    assert process.stdout is not None
    said: list[str] = []
    watchdog = threading.Timer(_START_S, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            said.append(line)
            if ready in line:
                return
    finally:
        watchdog.cancel()
    raise AssertionError("the server did not start:\n" + "".join(said))


def stop(process: subprocess.Popen[Any]) -> None:
    """End the process, gently first."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
