"""What the doors before the routes cost a request.

`python -m benchmarks.doors`. Requests are handed to an application that answers at once, behind no
door, behind each and behind all of them, in turns. Printed are the microseconds of the fastest
turn: what else the machine does only adds to them.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import typer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orm_models import Database
from product_search import context
from product_search.access.keyring import Keyring
from product_search.access.keys import create_key
from product_search.api.access import Access
from product_search.api.doors.front import FrontDoor
from product_search.api.doors.headers import AnswerHeaders
from product_search.api.doors.rates import RateDoor
from product_search.api.metrics import RequestMetrics
from product_search.api.openapi import App
from product_search.api.routes import products, search
from product_search.bootstrap.migrate import migrate
from product_search.settings import Settings

_REQUESTS = 500  # of a turn
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

_APP = App()  # for its routes: it is not started
for _routes in (search, products):
    _APP.include_router(_routes.router)

Door = Callable[[ASGIApp], ASGIApp]


def main(turns: Annotated[int, typer.Option(min=1)] = 31) -> None:
    """Measure, and print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'keys.sqlite3'}")
        migrate(database)
        key = database.write(create_key, "shop", context.Scope.read, [_SHOP])
        keyring = Keyring(database)
        keyring.open()
        _HEADERS.append((b"authorization", f"Bearer {key.text}".encode()))
        _compare(_doors(keyring), turns)
        database.close()


def _doors(keyring: Keyring) -> dict[str, Door]:
    """Return each door of the service, the outermost first."""
    resources = SimpleNamespace(keyring=keyring)
    _APP.state.service = SimpleNamespace(resources=resources)
    doors = _APP.doors
    settings = Settings(_env_file=None, allowed_hosts="*.example.com", rate_limit="900000000/hour")
    doors.open(settings, keyring)
    return {
        "headers of the answer, CORS": partial(AnswerHeaders, doors=doors),
        "metrics": RequestMetrics,
        "host, preflight, cross-site": partial(FrontDoor, doors=doors),
        "key and scope": partial(Access, refusals=doors.refusals),
        "rate": partial(RateDoor, doors=doors),
    }


def _compare(doors: dict[str, Door], turns: int) -> None:
    apps: dict[str, ASGIApp] = {"none": _answer}
    apps |= {name: door(_answer) for name, door in doors.items()}
    everything: ASGIApp = _answer
    for door in reversed(doors.values()):
        everything = door(everything)
    apps["all"] = everything
    taken: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(turns):
        for name, app in apps.items():
            taken[name].append(asyncio.run(_time(app)))
    _print(taken)


def _print(taken: dict[str, list[float]]) -> None:
    fastest = {name: min(times) for name, times in taken.items()}
    sys.stdout.write("| door | µs a request | more than none |\n|---|---|---|\n")
    for name, microseconds in fastest.items():
        more = microseconds - fastest["none"]
        sys.stdout.write(f"| {name} | {microseconds:.1f} | {more:.1f} |\n")


async def _time(app: ASGIApp) -> float:
    """Return the microseconds that a request takes."""
    begun = time.perf_counter()
    for _ in range(_REQUESTS):
        await app(_scope(), _receive, _send)
    return (time.perf_counter() - begun) / _REQUESTS * 1e6


def _scope() -> Scope:
    return {
        "type": "http",
        "app": _APP,
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
