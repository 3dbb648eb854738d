"""The real API and the real pages as processes of their own, on free ports of this machine."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from product_search.settings import ROOT

_START_S = 120.0
_STOP_S = 30.0
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.preloaded"])


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def forked(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    prepare: Callable[[], None] | None = None,
) -> ForkServerProcess:
    """A process of `service PORT`, `worker` or `manage …` in this folder, which appends to the log.

    It is forked from one that has imported everything: torch alone takes seconds. `prepare` is
    called in it first. It ends with this process.
    """
    arguments = (list(command), folder, os.environ | environment, log, prepare)
    process = _FORKS.Process(target=_run, args=arguments, daemon=True)
    process.start()
    return process


def _run(
    command: list[str],
    folder: Path,
    environment: dict[str, str],
    log: Path,
    prepare: Callable[[], None] | None,
) -> None:
    threading.Thread(target=_end_with_the_test, daemon=True).start()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    os.environ.clear()  # that of the test which needed a process first
    os.environ.update(environment)
    if prepare is not None:
        prepare()
    name, *arguments = command
    if name == "service":
        import uvicorn

        uvicorn.run("main:app", port=int(arguments[0]), access_log=False)
    elif name == "worker":
        from product_search.cli import worker

        sys.exit(worker.main())
    else:
        from product_search.cli import manage

        sys.exit(manage.main(arguments))


def _end_with_the_test() -> None:
    """A test that is killed itself leaves nothing behind."""
    test = multiprocessing.parent_process()
    assert test is not None
    test.join()
    os._exit(1)


@contextmanager
def running_api(
    data_dir: Path, port: int | None = None, **settings: str
) -> Iterator[tuple[str, ForkServerProcess]]:
    """The API on this data folder: its address, and the process for a test that ends it early.

    `settings` are variables of its environment, over those of `service_environment`.
    """
    port = port or free_port()
    with NamedTemporaryFile("r", encoding="utf-8", prefix="api") as log:
        environment = service_environment(data_dir) | settings
        process = forked(["service", str(port)], data_dir, environment, Path(log.name))
        try:
            said = ""
            deadline = time.monotonic() + _START_S
            while "Uvicorn running on" not in said:
                assert process.is_alive(), f"the server did not start:\n{said}"
                assert time.monotonic() < deadline, f"the server does not start:\n{said}"
                time.sleep(0.02)
                said += log.read()
            yield f"http://127.0.0.1:{port}", process
        finally:
            end(process)


def end(process: ForkServerProcess) -> None:
    """End the forked process, gently first."""
    process.terminate()
    process.join(_STOP_S)
    process.kill()
    process.join()


@contextmanager
def started_api(data_dir: Path) -> Iterator[str]:
    """The API on this data folder as its own command starts it; its address."""
    port = free_port()
    command = ["fastapi", "run", str(ROOT / "main.py"), "--host", "127.0.0.1", "--port", str(port)]
    environment = service_environment(data_dir)
    with _running(command, data_dir, environment, "Uvicorn running on"):
        yield f"http://127.0.0.1:{port}"


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
    """A worker beside the API on this data folder as its own command starts it, once it indexes."""
    environment = service_environment(data_dir)
    with _running(["product_search.worker"], data_dir, environment, "开始建立索引") as process:
        yield process


@contextmanager
def running_pages(api_url: str, **settings: str) -> Iterator[str]:
    """The pages over this API, with these variables more in their environment; their address."""
    port = free_port()
    command = ["streamlit", "run", "web_demo.py", f"--server.port={port}"]
    environment = {"PRODUCT_SEARCH_API_URL": api_url} | settings
    with _running(command, ROOT, environment, "URL:"):
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
