"""What the doors before the routes cost a request.

`python -m benchmarks.doors`. Requests are handed to an application that answers at once, behind no
door, behind each and behind all of them, in turns; printed are microseconds, the median of the
turns.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from product_search.api.doors.front import Doors, FrontDoor
from product_search.api.doors.headers import AnswerHeaders
from product_search.settings import Settings

_REQUESTS = 2000  # of a turn
_SHOP = "https://shop.example.com"
_HEADERS = [
    (b"host", b"search.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"accept-language", b"zh-CN,zh;q=0.9"),
    (b"content-type", b"application/json"),
    (b"content-length", b"40"),
    (b"origin", _SHOP.encode()),
    (b"sec-fetch-site", b"cross-site"),
    (b"sec-fetch-mode", b"cors"),
]

Door = Callable[[ASGIApp], ASGIApp]


def main(turns: Annotated[int, typer.Option(min=1)] = 31) -> None:
    """Measure, and print the figures."""
    doors = Doors()
    doors.open(Settings(_env_file=None, allowed_hosts="*.example.com", cors_origins=_SHOP), None)
    each: dict[str, Door] = {
        "headers of the answer, CORS": partial(AnswerHeaders, doors=doors),
        "host, preflight, cross-site": partial(FrontDoor, doors=doors),
    }
    apps: dict[str, ASGIApp] = {"none": _answer}
    apps |= {name: door(_answer) for name, door in each.items()}
    everything: ASGIApp = _answer
    for door in reversed(each.values()):
        everything = door(everything)
    apps["all"] = everything
    taken: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(turns):
        for name, app in apps.items():
            taken[name].append(asyncio.run(_time(app)))
    _print(taken)


def _print(taken: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(times) for name, times in taken.items()}
    sys.stdout.write("| door | µs a request | more than none |\n|---|---|---|\n")
    for name, median in medians.items():
        more = median - medians["none"]
        sys.stdout.write(f"| {name} | {median:.1f} | {more:.1f} |\n")


async def _time(app: ASGIApp) -> float:
    """Return the microseconds that a request takes."""
    begun = time.perf_counter()
    for _ in range(_REQUESTS):
        await app(_scope(), _receive, _send)
    return (time.perf_counter() - begun) / _REQUESTS * 1e6


def _scope() -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/search",
        "query_string": b"",
        "headers": _HEADERS,
        "client": ("10.0.0.1", 50000),
    }


async def _answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"2"), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_message: Message) -> None:
    """Drop it."""


if __name__ == "__main__":
    typer.run(main)
