"""A load generator that costs little: POSTs over keep-alive connections, from a process of its own.

python -m benchmarks.http_load PORT PATH CONNECTIONS SECONDS   (used by write_throughput)

Prints JSON: how many of each status came, the seconds that they took, and milliseconds of each.
"""

from __future__ import annotations

import json
import secrets
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass

_ATTRIBUTES = {"颜色": "红", "容量": "20L"}


@dataclass(frozen=True)
class Load:
    """What one stretch of load took, and its statuses."""

    statuses: dict[str, int]
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Return the accepted requests a second; refusals are no throughput."""
        return self.statuses.get("201", 0) / self.seconds


def run_load(port: int, path: str, connections: int, seconds: float) -> Load:
    """POST for so many seconds from another process, so that this one has nothing to do."""
    command = [sys.executable, "-m", "benchmarks.http_load"]
    arguments = [str(port), path, str(connections), str(seconds)]
    output = subprocess.run([*command, *arguments], check=True, stdout=subprocess.PIPE).stdout
    return Load(**json.loads(output))


def _request(path: str, number: int, run: str) -> bytes:
    product = {
        "title": f"红色双肩包 大容量防水旅行背包 {number}",
        "sku": f"{run}-{number}",
        "description": "轻便耐磨，可放 15 寸笔记本电脑。",
        "category": "箱包",
        "brand": "远行",
        "price": "129.00",
        "attributes": _ATTRIBUTES,
    }
    body = json.dumps(product, ensure_ascii=False).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class _Connection:
    """A client that sends its next request when it has the whole answer to the last."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._sent_at = 0.0

    def send(self, request: bytes) -> None:
        self._sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> tuple[str, float] | None:
        """Return status and milliseconds of the answer; None until all of it is here."""
        part = self.socket.recv(65_536)
        if not part:
            raise ConnectionError("the server hung up")
        self._received += part
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if not found or len(body) < int(length):
            return None
        self._received = b""
        return head[9:12].decode(), 1000 * (time.perf_counter() - self._sent_at)


def main() -> None:
    """Run one stretch of load."""
    port, path, connections = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    run, number = secrets.token_hex(4), 0
    statuses: Counter[str] = Counter()
    took: list[float] = []
    begun = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = _Connection(port)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(_request(path, number, run))
            number += 1
        until = begun + float(sys.argv[4])
        while number > len(took):  # until every request has its answer
            for key, _ in selector.select():
                answer = key.data.receive()
                if answer is not None:
                    statuses[answer[0]] += 1
                    took.append(answer[1])
                    if time.perf_counter() < until:
                        key.data.send(_request(path, number, run))
                        number += 1
    seconds = time.perf_counter() - begun
    took.sort()
    at = {f"p{part}_ms": took[len(took) * part // 100] for part in (50, 99)}
    sys.stdout.write(json.dumps({"statuses": statuses, "seconds": seconds} | at))


if __name__ == "__main__":
    main()
