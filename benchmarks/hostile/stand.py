"""A fresh service that is attacked while it is searched: what its searchers and its memory see."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

from benchmarks.hostile import files
from benchmarks.http_load import Load, Order, run_load, write_requests
from benchmarks.rig import processes, words
from benchmarks.rig.catalogue import Checkout, imported
from benchmarks.rig.contenders import search_request
from benchmarks.rig.folders import BENCH, copy, kept, say
from benchmarks.rig.processes import Request, Server

SEED = 41
PRODUCTS = 1_000
RATE = 10.0  # searches a second; each counts from when it was due
ALONE_S = 8.0
WAVE_S = 2.0  # between the beginnings of two waves, at least
PATIENCE_S = 120.0
_SAMPLE_S = 0.1
_TAIL = 20  # lines of the service's log
Environment = Mapping[str, str]
Starting = Callable[[list[str], Environment, Path], tuple[list[str], Environment]]


def as_it_is(
    command: list[str], environment: Environment, _data: Path
) -> tuple[list[str], Environment]:
    """Start the service by its usual command and environment."""
    return command, environment


@dataclass
class Answers:
    """What the hostile requests were answered: how often each status, and the slowest."""

    statuses: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, status: str, seconds: float) -> None:
        """Count an answer."""
        with self.lock:
            self.statuses[status] += 1
            self.longest_s = max(self.longest_s, seconds)


def _cheap_client() -> httpx.Client:
    """Return a client that takes little of the processors, which an attacker's would not share.

    A client for each request would read certificates each time, for as long as a search takes.
    """
    limits = httpx.Limits(max_connections=None, keepalive_expiry=WAVE_S)
    return httpx.Client(verify=False, timeout=PATIENCE_S, limits=limits)


@dataclass
class Stand:
    """A running service, how long it is attacked, and what comes of it."""

    server: Server
    checkout: Checkout
    data: Path
    log: Path
    seconds: float
    searching: Future[Load]
    answers: Answers = field(default_factory=Answers)
    begun: float = field(default_factory=time.monotonic)
    client: httpx.Client = field(default_factory=_cheap_client)

    @property
    def url(self) -> str:
        """The service's address."""
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def is_over(self) -> bool:
        """Whether the time of the attack is over."""
        return time.monotonic() > self.begun + self.seconds

    def ask(self, request: Request, **more: Any) -> httpx.Response | None:
        """Send a request that is no hostile one; None where the connection broke."""
        method, path, body = request
        if body is not None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            more = {"content": content, "headers": {"Content-Type": "application/json"}} | more
        with suppress(httpx.TransportError):
            return self.client.request(method, f"{self.url}{path}", **more)
        return None

    def attack(self, request: Request, **more: Any) -> httpx.Response | None:
        """Send a hostile request, and note what it was answered."""
        began = time.monotonic()
        answer = self.ask(request, **more)
        took = time.monotonic() - began
        told = f"none in {PATIENCE_S:.0f} s" if took >= PATIENCE_S else _told(answer)
        self.answers.note(told, took)
        return answer

    def waves(self, requests: Sequence[Request]) -> None:
        """Send all the requests at once, again and again, until the time is over."""
        written = [(method, path, json.dumps(body).encode()) for method, path, body in requests]
        with ThreadPoolExecutor(len(requests)) as pool:
            while not self.is_over:
                began = time.monotonic()
                list(pool.map(self.attack, written))
                time.sleep(max(0.0, began + WAVE_S - time.monotonic()))

    def wait_for_searches(self) -> None:
        """Wait until the searches beside the attack are over."""
        self.searching.result()

    def wait_out(self) -> None:
        """Wait until the time of the attack is over."""
        time.sleep(max(0.0, self.begun + self.seconds - time.monotonic()))

    def create(self, title: str, **more: Any) -> httpx.Response | None:
        """Create a product as a person does; its category is its own."""
        return self.ask(("POST", "/product", {"title": title, "category": title[-100:]} | more))

    def finds(self, title: str) -> bool:
        """Tell whether a search for the title, in its category, shows a product of this title."""
        body = {"mode": "text_to_text", "text": title, "filters": {"category": [title[-100:]]}}
        answer = self.ask(("POST", "/search", body | {"min_confidence": 0}))
        hits = answer.json()["hits"] if answer is not None and answer.is_success else []
        return any(hit["product"]["title"] == title for hit in hits)

    def seconds_until_found(self, title: str, patience_s: float) -> float | None:
        """Return after how many seconds a search finds the title; None: not in that time."""
        began = time.monotonic()
        while time.monotonic() < began + patience_s:
            if self.finds(title):
                return time.monotonic() - began
            time.sleep(0.2)
        return None

    def health(self) -> str:
        """Return what /health says in a word or two."""
        answer = self.ask(("GET", "/health", None))
        if answer is None:
            return "no answer"
        told = answer.json()
        down = [key for key, value in told.items() if value in ("down", "filling", "lost")]
        return "; ".join([" ".join([str(told.get("status")), *down]), *told.get("reasons", [])])

    def warnings(self) -> list[str]:
        """Return the last lines of the log that warn, without traces."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return [line[:200] for line in lines if "WARNING" in line or "ERROR" in line][-_TAIL:]


def _told(answer: httpx.Response | None) -> str:
    if answer is None:
        return "broken"
    with suppress(ValueError):
        code = answer.json().get("code") if not answer.is_success else None
        return f"{answer.status_code} {code}" if code else str(answer.status_code)
    return str(answer.status_code)


@dataclass(frozen=True)
class Row:
    """A row of the table: `attack` returns what a person sees, a line each."""

    name: str
    tried: str
    attack: Callable[[Stand], list[str]]
    seconds: float = 20.0
    starting: Starting = as_it_is


def measure(row: Row, checkout: Checkout) -> dict[str, Any]:
    """Attack a fresh service of the checkout; return the row's figures."""
    data = copy(imported(checkout, PRODUCTS), "hostile")
    texts = iter(words.queries(SEED, int(RATE * (ALONE_S + row.seconds + 4))))
    command, environment = row.starting(
        processes.service_command(checkout), checkout.environment(data), data
    )
    first = search_request("text_to_text", next(texts))
    log = BENCH / "logs" / f"hostile-{row.name}.log"
    log.parent.mkdir(exist_ok=True)
    begun, busy = time.monotonic(), os.getloadavg()[0]
    with processes.serving(row.name, command, environment, first, log) as server:
        alone = _searched(server, texts, ALONE_S)
        rest, answers = _total(server), Answers()
        with _weighed(server) as most, ThreadPoolExecutor(1) as pool:
            under = pool.submit(_searched, server, texts, row.seconds)
            seen = row.attack(Stand(server, checkout, data, log, row.seconds, under, answers))
            load = under.result()
    return {
        "row": row.name,
        "tried": row.tried,
        "load_average": busy,
        "alone": asdict(alone),
        "under": asdict(load),
        "rest_mb": rest,
        "extra_mb": max(0.0, max(most, default=rest) - rest),
        "answers": dict(answers.statuses),
        "longest_s": answers.longest_s,
        "seen": seen,
        "took_s": time.monotonic() - begun,
    }


def _searched(server: Server, texts: Iterator[str], seconds: float) -> Load:
    count = int(RATE * (seconds + 1))
    asked = [search_request("text_to_text", text) for text in islice(texts, count)]
    path = write_requests(BENCH / "hostile.jsonl", asked)
    return run_load(Order(server.port, path, seconds, rate=RATE, warm_s=0.5))


def _total(server: Server) -> float:
    memory = server.memory()
    return memory.server + memory.milvus


@contextmanager
def _weighed(server: Server) -> Iterator[list[float]]:
    """Sample the MB of the server and its Milvus Lite until the end of the block, or of them."""
    samples: list[float] = []
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.wait(_SAMPLE_S):
            with suppress(OSError, ValueError):  # a process that ends has no memory to tell of
                samples.append(_total(server))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        is_over.set()
        thread.join()


def empty_lines(megabytes: int) -> Path:
    """Return a ZIP of a table of so many MB of line breaks, made now or in an earlier run."""

    def make(folder: Path) -> None:
        files.write_empty_lines(folder / "products.zip", megabytes)

    return kept("lines", str(megabytes), make) / "products.zip"


def tell(entry: Mapping[str, Any]) -> None:
    """Tell what a row came to."""
    under, alone = entry["under"], entry["alone"]
    say(
        f"  {entry['row']}: p95 {alone['p95_ms']:.0f} -> {under['p95_ms']:.0f} ms "
        f"{under['statuses']}, +{entry['extra_mb']:.0f} MB, {entry['answers']}, {entry['seen']}"
    )
