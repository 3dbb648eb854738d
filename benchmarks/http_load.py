"""A load generator that costs little: requests over keep-alive connections, from its own process.

python -m benchmarks.http_load   (its order as JSON on the standard input: see `Order`)

Closed loop: each client sends its next request when it has the answer to its last. Open loop: the
requests are sent at a fixed rate however long answers take, and a request's latency counts from
the moment at which it was due. Docs: docs/decisions/0023-own-load-generator.md.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from product_search.settings import ROOT

LONGEST_WAIT_S = 20.0  # for the last answers
MOST_CONNECTIONS = 1000  # of an open loop; what finds none free waits for its turn
_TOOK = re.compile(rb'"took_ms":\s*(\{[^}]*\})')


@dataclass(frozen=True)
class Order:
    """What is to be sent where: from the file `requests`, a JSON list [method, path, body] a line.

    Exactly one of `clients` (closed loop) and `rate` (open loop, requests a second) is given.
    Answers of the first `warm_s` seconds are not counted, those of the next `seconds` are; of an
    open loop all answers to what was due in that time, and `qps` tells those that came in it.
    """

    port: int
    requests: str
    seconds: float
    clients: int = 0
    rate: float = 0.0
    warm_s: float = 1.0
    stages: bool = False  # look into the answers for took_ms, which costs time
    key: str = ""  # shown with each request


@dataclass(frozen=True)
class Load:
    """What a stretch of load saw: of answers with status 200 or 201, latencies in milliseconds."""

    qps: float
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    statuses: dict[str, int]  # "lost": the connection broke; "unanswered": within LONGEST_WAIT_S
    repeated: bool  # the file was too short: its requests came more than once
    client_cpu: float  # share of a core that the generator took
    overhead_ms: float | None = None  # median of latency less encode and recall
    encode_ms: float | None = None  # median

    @property
    def errors(self) -> int:
        """The number of requests without a good answer."""
        return sum(count for status, count in self.statuses.items() if status not in GOOD)


GOOD = ("200", "201")


def run_load(order: Order) -> Load:
    """Carry out the order in another process, so that this one has nothing to do."""
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.http_load"],
        input=json.dumps(asdict(order)).encode(),
        check=True,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ).stdout
    return Load(**json.loads(output))


def write_requests(path: Path, requests: Sequence[tuple[str, str, Any]]) -> str:
    """Write requests (method, path, body) where an order can name them; return the path."""
    lines = (json.dumps(request, ensure_ascii=False) for request in requests)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return str(path)


def _raw(line: str, key: str) -> bytes:
    method, path, body = json.loads(line)
    content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    if key:
        head += f"Authorization: Bearer {key}\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


class _Connection:
    """A keep-alive connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.due: float | None = None  # None: nothing is under way
        self.socket = self._connected()

    def _connected(self) -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", self.port))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        return connected

    def send(self, request: bytes, due: float) -> None:
        """Send the request, whose latency counts from `due`."""
        self.due = due
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Return the whole answer; None until it is here. Raises OSError."""
        part = self.socket.recv(262_144)
        if not part:
            raise ConnectionError("the server hung up")
        self._received += part
        head, found, body = bytes(self._received).partition(b"\r\n\r\n")
        if not found or not _is_whole(head.lower(), body):
            return None
        answer, self._received = bytes(self._received), bytearray()
        return answer


def _is_whole(head: bytes, body: bytes) -> bool:
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
    return len(body) >= int(length or 0)


@dataclass
class _Stretch:
    """A stretch of load under way."""

    order: Order
    requests: Sequence[bytes]
    selector: selectors.BaseSelector
    free: list[_Connection] = field(default_factory=list)
    busy: int = 0
    sent: int = 0
    in_time: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)

    def run(self) -> None:
        """Send until the time is over, then wait for the answers."""
        self.begin = time.perf_counter()
        self.first = self.begin + self.order.warm_s
        self.end = self.first + self.order.seconds
        self._next = cycle(self.requests)
        for _ in range(self.order.clients):
            self._send(time.perf_counter())
        while (now := time.perf_counter()) < self.end:
            self._send_due(now)
            self._receive(min(self.end, self._next_due()) - now)
        while self.busy and time.perf_counter() < self.end + LONGEST_WAIT_S:
            self._receive(1.0)
        if self.busy:
            self.statuses["unanswered"] += self.busy

    def _next_due(self) -> float:
        """Return when the open loop's next request is due."""
        return self.begin + self.sent / self.order.rate if self.order.rate else self.end

    def _send_due(self, now: float) -> None:
        while self.order.rate and (due := self._next_due()) <= now:
            if not self.free and self.busy >= MOST_CONNECTIONS:
                break
            self._send(due)

    def _send(self, due: float) -> None:
        if self.free:
            connection = self.free.pop()
        else:
            connection = _Connection(self.order.port)
            self.selector.register(connection.socket, selectors.EVENT_READ, connection)
        self.busy += 1
        self.sent += 1
        connection.send(next(self._next), due)

    def _receive(self, patience_s: float) -> None:
        for key, _ in self.selector.select(max(0.0, patience_s)):
            connection: _Connection = key.data
            try:
                answer = connection.receive()
            except OSError:
                self._drop(connection)
                answer = b""
            if answer is not None and connection.due is not None:
                self._note(answer[9:12].decode() or "lost", answer, connection.due)
                self.busy -= 1
                connection.due = None
                if answer:
                    self.free.append(connection)
                if self.order.clients and time.perf_counter() < self.end:
                    self._send(time.perf_counter())

    def _drop(self, connection: _Connection) -> None:
        self.selector.unregister(connection.socket)
        connection.socket.close()
        if connection in self.free:  # the server has closed what was idle for long
            self.free.remove(connection)

    def _note(self, status: str, answer: bytes, due: float) -> None:
        now = time.perf_counter()
        if not self.first <= (due if self.order.rate else now) < self.end:
            return
        self.statuses[status] += 1
        if status in GOOD:
            self.in_time += now < self.end
            self.took.append(1000 * (now - due))
            if self.order.stages and (found := _TOOK.search(answer)):
                self.stages.append({"latency": self.took[-1], **json.loads(found[1])})


def _load_of(stretch: _Stretch, cpu_s: float) -> Load:
    took = sorted(stretch.took) or [float("nan")]
    at = {part: took[min(len(took) - 1, len(took) * part // 100)] for part in (50, 95, 99)}
    overheads = sorted(one["latency"] - one["encode"] - one["recall"] for one in stretch.stages)
    encodes = sorted(one["encode"] for one in stretch.stages)
    return Load(
        qps=stretch.in_time / stretch.order.seconds,
        mean_ms=sum(took) / len(took),
        p50_ms=at[50],
        p95_ms=at[95],
        p99_ms=at[99],
        statuses=dict(stretch.statuses),
        repeated=stretch.sent > len(stretch.requests),
        client_cpu=cpu_s / (stretch.order.warm_s + stretch.order.seconds),
        overhead_ms=overheads[len(overheads) // 2] if overheads else None,
        encode_ms=encodes[len(encodes) // 2] if encodes else None,
    )


def main() -> None:
    """Carry out the order, and print its Load as JSON."""
    order = Order(**json.loads(sys.stdin.read()))
    lines = Path(order.requests).read_text("utf-8").splitlines()
    requests = [_raw(line, order.key) for line in lines]
    with selectors.DefaultSelector() as selector:
        stretch = _Stretch(order, requests, selector)
        cpu = time.process_time()
        stretch.run()
        load = _load_of(stretch, time.process_time() - cpu)
    sys.stdout.write(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
