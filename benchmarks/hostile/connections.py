"""An attack by connections: silent ones, slow ones, and bodies that are never finished."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from benchmarks.hostile.stand import Stand

CONNECTIONS, BODIES = 200, 40
_BODY = 13 * 1024 * 1024  # of 14 that are announced
_GRACE_S = 90.0
_HEAD = b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def slow_clients(stand: Stand) -> list[str]:
    """Hold silent and slow connections and unfinished bodies, then tell the service to end."""
    silent = [_connected(stand) for _ in range(CONNECTIONS // 2)]
    slow = [_connected(stand) for _ in range(CONNECTIONS // 2)]
    for one in slow:
        _send(one, b"POST /search HTTP/1.1\r\nX-Slow: ")
    bodies = [_unfinished(stand) for _ in range(BODIES)]
    while not stand.is_over:
        for one in [*slow, bodies[0]]:
            _send(one, b"a")
        time.sleep(1.0)
    stand.wait_for_searches()
    seen = [_counted("silent", silent), _counted("slow", slow), _counted("unfinished", bodies)]
    seen.append(_ended(stand, bodies[0]))
    for one in [*silent, *slow, *bodies]:
        one.close()
    return seen


def _connected(stand: Stand) -> socket.socket:
    return socket.create_connection(("127.0.0.1", stand.server.port), timeout=30)


def _unfinished(stand: Stand) -> socket.socket:
    """Send most of a body, and never the rest."""
    connection = _connected(stand)
    _send(connection, _HEAD + b"Content-Length: %d\r\n\r\n" % (_BODY + 1024 * 1024))
    _send(connection, b'{"text": "' + b" " * _BODY)
    return connection


def _send(connection: socket.socket, content: bytes) -> None:
    with suppress(OSError):  # the service has closed it, which is counted
        connection.sendall(content)


def _counted(kind: str, connections: Sequence[socket.socket]) -> str:
    """Say how many of the connections were answered or closed."""
    states = Counter(map(_state, connections))
    told = ", ".join(f"{state} {count}" for state, count in sorted(states.items()))
    return f"{len(connections)} {kind}: {told}"


def _state(connection: socket.socket) -> str:
    connection.settimeout(0.01)
    try:
        answer = connection.recv(200)
    except TimeoutError:
        return "open"
    except OSError:
        return "closed"
    return answer[9:12].decode() if answer else "closed"


def _ended(stand: Stand, slow: socket.socket) -> str:
    """Send SIGTERM, let one body go on slowly, and say how long the service took to end."""
    process = stand.server.process
    slow.settimeout(1.0)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    while time.monotonic() < began + _GRACE_S:
        _send(slow, b"a")
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(1.0)
            return f"SIGTERM: ended after {time.monotonic() - began:.0f} s, status {status}"
    process.kill()
    return f"SIGTERM: still there after {_GRACE_S:.0f} s"
