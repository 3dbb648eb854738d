"""Servers under load: started, asked for their first answer, weighed and stopped."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from benchmarks.rig.catalogue import Checkout
from product_search.settings import ROOT
from tests.servers import free_port, stop

Request = tuple[str, str, Any]  # method, path, body
_PATIENCE_S = 180.0


@dataclass(frozen=True)
class Memory:
    """Resident memory in MB: of the server, and of the Milvus Lite that it has started."""

    server: float
    milvus: float


@dataclass(frozen=True)
class Server:
    """A server that answers; `first_answer_s` is how long after its start it did."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    first_answer_s: float
    key: str = ""  # where it requires one

    def ask(self, request: Request) -> httpx.Response:
        """Send a request and return its answer. Raises HTTPError."""
        method, path, body = request
        url = f"http://127.0.0.1:{self.port}{path}"
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        answer = httpx.request(method, url, json=body, headers=headers, timeout=120)
        return answer.raise_for_status()

    def memory(self) -> Memory:
        """Return the memory of the server and of its Milvus Lite."""
        return memory_of(self.process.pid)


def memory_of(pid: int) -> Memory:
    """Return the memory of a server, by its process, and of its Milvus Lite; OSError: it ended."""
    found = {"server": 0.0, "milvus": 0.0}
    for member in family(pid):
        status = Path(f"/proc/{member}/status").read_text().split()
        kind = "milvus" if _is_milvus(status) else "server"
        if "VmRSS:" in status:  # else it has just ended
            found[kind] += int(status[status.index("VmRSS:") + 1]) / 1024
    return Memory(**found)


def _is_milvus(status: Sequence[str]) -> bool:
    return "milvus" in status[status.index("Name:") + 1]


def milvus_of(pid: int) -> int | None:
    """Return the process of the Milvus Lite that a server has started; None where there is none."""
    found = (
        one for one in family(pid) if _is_milvus(Path(f"/proc/{one}/status").read_text().split())
    )
    return next(found, None)


def family(pid: int) -> Iterator[int]:
    """Yield the process, and all that it has started."""
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = (thread / "children").read_text().split()
        except FileNotFoundError:  # the thread has ended meanwhile
            continue
        for child in children:
            yield from family(int(child))


@contextmanager
def serving(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    first: Request,
    log: Path,
    key: str = "",
) -> Iterator[Server]:
    """Start a server, whose command gets a port in place of PORT, and wait for its first answer.

    Raises:
        RuntimeError: it ends before that, or takes too long.
    """
    port = free_port()
    command = [part.replace("PORT", str(port)) for part in command]
    with log.open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(environment), cwd=log.parent, stdout=output, stderr=output
        )
        try:
            yield _answering(Server(name, port, process, 0.0, key), first, begun, log)
        finally:
            stop(process)


def _answering(server: Server, first: Request, begun: float, log: Path) -> Server:
    while server.process.poll() is None and time.perf_counter() < begun + _PATIENCE_S:
        try:
            server.ask(first)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return replace(server, first_answer_s=time.perf_counter() - begun)
    raise RuntimeError(f"{server.name} does not answer: {log.read_text(errors='replace')[-1500:]}")


def service_command(checkout: Checkout) -> list[str]:
    """Return the command that serves the project, as `make serve` does."""
    main = str(checkout.root / "main.py")
    return [sys.executable, "-m", "fastapi", "run", main, "--host=127.0.0.1", "--port=PORT"]


def uvicorn_command(app: str, python: str = sys.executable) -> list[str]:
    """Return the command that serves another application."""
    return [python, "-m", "uvicorn", app, "--port=PORT", "--no-access-log"]


def this_checkout(**more: str) -> dict[str, str]:
    """Return the environment of a process of this checkout that is no service."""
    return Checkout().environment(ROOT) | more
