"""Whether answers hold under load: one page asked again and again, then minutes of mixed load.

python -m benchmarks.soak [--minutes 10] [--products 10000]

First a page of each mode is asked 50 times while 40 clients search: it is the same each time. Then
8 clients search, create, change and delete products; each hit is compared with what its product
was while the search ran. At the end all products that were created and not deleted are found, the
doctor finds no drift, and memory was flat over the second half. Exit status 1 where any of this
fails.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.http_load import Order, run_load, write_requests
from benchmarks.rig import peer_data, processes, words
from benchmarks.rig.catalogue import Checkout, imported
from benchmarks.rig.contenders import search_request
from benchmarks.rig.folders import BENCH, copy, say
from tests.faults.versions import Version, Versions

SEED = 31
TEXT_MODES = ("text_to_text", "text_to_image", "hybrid")
ASKED, CROWD, CLIENTS = 50, 40, 8
MOST_OWN = 40  # products of one client at a time, so that the catalogue stays as large as it is
SAMPLE_S = 5.0
MOST_GROWTH = 0.03  # of the server's memory, over the second half
SETTLED_S = 120.0


@dataclass
class Truth(Versions):
    """The titles of all products, and what requests were answered."""

    statuses: Counter[str] = field(default_factory=Counter)


class Client(threading.Thread):
    """A client that searches mostly, and has some products of its own."""

    def __init__(self, port: int, number: int, truth: Truth, until: float) -> None:
        """Prepare the client; it runs until this moment."""
        super().__init__(name=f"client {number}")
        self.truth = truth
        self.own: dict[int, str] = {}
        self._until = until
        self._draws = random.Random(SEED + number)
        self._titles = words.products(SEED + number, 10**9)
        self._queries = iter(words.queries(SEED + number, 20_000))
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)
        self._made = 0

    def run(self) -> None:
        """Act until the time is over."""
        with self._http:
            while time.monotonic() < self._until:
                draw = self._draws.random()
                if draw < 0.7:
                    self._search()
                elif draw < 0.85 and len(self.own) < MOST_OWN:
                    self._create()
                elif self.own:
                    key = self._draws.choice(list(self.own))
                    (self._change if draw < 0.92 else self._remove)(key)

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, path, json=body)
        with self.truth.lock:
            self.truth.statuses[f"{method} {answer.status_code}"] += 1
            if not answer.is_success:
                self.truth.wrong.append(
                    f"{method} {path}: {answer.status_code} {answer.text[:100]}"
                )
        return answer.json() if answer.is_success and answer.content else {}

    def _search(self) -> None:
        text = next(self._queries, None) or self._title()
        if self.own and self._draws.random() < 0.2:
            text = self._draws.choice(list(self.own.values()))
        begin = time.monotonic()
        _, path, body = search_request(self._draws.choice(TEXT_MODES), text)
        found = self._send("POST", path, body)
        self.truth.check(_shown(found.get("hits", [])), begin, time.monotonic())

    def _title(self) -> str:
        self._made += 1
        return f"{next(self._titles)['title']} {self.name} {self._made}"

    def _create(self) -> None:
        # Its category is its own, so that it can be looked for at the end.
        title, begin = self._title(), time.monotonic()
        created = self._send("POST", "/product", {"title": title, "category": title[-100:]})
        if created:
            self.own[created["product_id"]] = title
            self.truth.may_be(created["product_id"], {title}, begin, time.monotonic())

    def _change(self, key: int) -> None:
        title, begin = self._title(), time.monotonic()
        self._send("PATCH", f"/product/{key}", {"title": title, "category": title[-100:]})
        self.own[key] = title
        self.truth.may_be(key, {title}, begin, time.monotonic())

    def _remove(self, key: int) -> None:
        begin = time.monotonic()
        self._send("DELETE", f"/product/{key}")
        del self.own[key]
        self.truth.may_be(key, (), begin, time.monotonic())


def _shown(hits: Sequence[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    return ((hit["product"]["product_id"], hit["product"]["title"]) for hit in hits)


def same_pages(server: processes.Server, texts: Iterator[str]) -> list[str]:
    """Ask one page of each mode again and again under load; return what differed."""
    load = [search_request("text_to_text", next(texts)) for _ in range(5000)]
    path = write_requests(BENCH / "soak.jsonl", load)
    differed = []
    for mode in TEXT_MODES:
        request = search_request(mode, "红色双肩包 大容量")
        order = Order(server.port, path, seconds=40, clients=CROWD)
        crowd = threading.Thread(target=run_load, args=[order])
        crowd.start()
        pages = Counter(_page(server, request) for _ in range(ASKED))
        was_loaded = crowd.is_alive()
        crowd.join()
        say(f"{mode}: {ASKED} answers, {len(pages)} different; load till the end: {was_loaded}")
        differed += [f"{mode}: {len(pages)} different pages"] if len(pages) > 1 else []
    return differed


def _page(server: processes.Server, request: processes.Request) -> str:
    answer = server.ask(request).json()
    del answer["took_ms"]
    answer.pop("next_cursor")  # says when it was given out
    return json.dumps(answer, sort_keys=True)


@contextmanager
def weighed(weigh: Callable[[], processes.Memory]) -> Iterator[list[tuple[float, float, float]]]:
    """Sample minutes, and the MB of the server and of Milvus Lite, until the end of the block."""
    samples: list[tuple[float, float, float]] = []
    is_over, begin = threading.Event(), time.monotonic()

    def sample() -> None:
        while not is_over.wait(SAMPLE_S):
            with suppress(OSError):  # a server that is being started again
                memory = weigh()
                samples.append(((time.monotonic() - begin) / 60, memory.server, memory.milvus))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        is_over.set()
        thread.join()


def growth(samples: Sequence[tuple[float, float, float]]) -> list[str]:
    """Tell how memory went over the second half; return what was wrong with it."""
    half = np.array(samples[len(samples) // 2 :])
    wrong = []
    for name, column in (("server", 1), ("Milvus Lite", 2)):
        slope = float(np.polyfit(half[:, 0], half[:, column], 1)[0])
        grown = slope * float(half[-1, 0] - half[0, 0])
        mean = float(half[:, column].mean())
        say(f"{name}: {mean:.0f} MB over the second half, {slope:+.2f} MB a minute")
        if name == "server" and grown > MOST_GROWTH * mean:
            wrong.append(f"the server grew by {grown:.0f} MB over the second half")
    return wrong


def lost(server: processes.Server, own: dict[int, str]) -> list[str]:
    """Return the products that a search for their title in their category does not find."""
    deadline = time.monotonic() + SETTLED_S
    missing = dict(own)
    while missing and time.monotonic() < deadline:
        missing = {key: title for key, title in missing.items() if not _finds(server, key, title)}
    return [f"{key} is not found: {title}" for key, title in missing.items()]


def _finds(server: processes.Server, key: int, title: str) -> bool:
    method, path, body = search_request("text_to_text", title)
    body |= {"filters": {"category": [title[-100:]]}, "min_confidence": 0}
    hits = server.ask((method, path, body)).json()["hits"]
    return list(_shown(hits)) == [(key, title)]


def mixed(server: processes.Server, minutes: float, data: Path) -> list[str]:
    """Search and write for so many minutes; return all that was wrong."""
    rows = peer_data.rows_of(data)
    truth = Truth({row["product_id"]: [Version(row["title"], 0.0)] for row in rows})
    until = time.monotonic() + 60 * minutes
    clients = [Client(server.port, number, truth, until) for number in range(CLIENTS)]
    with weighed(server.memory) as samples:
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    truth.conclude()
    own = {key: title for client in clients for key, title in client.own.items()}
    say(f"{truth.hits} hits checked, {len(truth.wrong)} wrong; {dict(truth.statuses)}")
    missing = lost(server, own)
    say(f"{len(own)} products are left of those created, {len(missing)} of them not found")
    return [*truth.wrong, *missing, *growth(samples)]


def main() -> int:
    """Return 0 where everything held, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--products", type=int, default=10_000)
    options = parser.parse_args()
    checkout = Checkout()
    data = copy(imported(checkout, options.products), "soak")
    texts = iter(words.queries(SEED, 5001))
    first = search_request("text_to_text", next(texts))
    command, environment = processes.service_command(checkout), checkout.environment(data)
    with processes.serving("service", command, environment, first, BENCH / "soak.log") as server:
        wrong = same_pages(server, texts)
        wrong += mixed(server, options.minutes, data)
        try:
            say(checkout.run(data, "-m", "product_search.manage", "doctor") or "doctor: no drift")
        except RuntimeError as error:
            wrong.append(str(error))
    for one in wrong[:50]:
        say(f"WRONG: {one}")
    say("FAILED" if wrong else "all held")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
