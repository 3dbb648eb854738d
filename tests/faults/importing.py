"""A client that imports files, one after another, and follows each to its end."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Mapping

import httpx

from tests.faults.ledger import Content, Ledger, Tracked
from tests.faults.load import PATIENCE_S, send, title

ROWS = 30  # of a file, about half of them products of the files before
_PAUSE_S = 0.3
_numbers = itertools.count(1)


class Importing:
    """Imports in a thread of its own, until stopped; `conclude` where the last was not over."""

    def __init__(self, address: str, ledger: Ledger, chance: random.Random) -> None:
        self.done = 0
        self._address = address
        self._ledger = ledger
        self._chance = chance
        self._mine: list[str] = []
        self._accepted: dict[str, Content] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Importing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(2 * PATIENCE_S)
        assert not self._thread.is_alive()

    def conclude(self, begin: float = 0.0, end: float = 0.0) -> None:
        """What was accepted has been imported by now, by a request that ran from then to then."""
        for sku, content in self._accepted.items():
            product = self._ledger.products[sku]
            product.possible = {content}
            self._ledger.changed(product, begin, end)
        self._mine = list({*self._mine, *self._accepted})
        self._accepted = {}

    def _run(self) -> None:
        with httpx.Client(base_url=self._address, timeout=PATIENCE_S) as http:
            while not self._stopping.is_set():
                try:
                    self._import(http)
                except Exception as error:  # a thread must not die unseen
                    self._ledger.surprise(f"{type(error).__name__}: {error}")
                    raise
                self._stopping.wait(_PAUSE_S)

    def _import(self, http: httpx.Client) -> None:
        rows = self._rows()
        file = {"file": ("rows.csv", csv_of(rows).encode())}
        sent = send(self._ledger, "import", lambda: http.post("/product/import", files=file))
        if sent.told not in ("acknowledged", "unanswered"):
            return
        for sku, content in rows.items():
            product = self._ledger.products[sku]
            product.possible = product.possible | {content}
            self._ledger.changed(product, sent.begin, sent.end)
        if sent.told == "unanswered":  # it may run at any time: nobody writes to these any more
            self._mine = [sku for sku in self._mine if sku not in rows]
            return
        self._accepted = rows
        self._follow(http, sent.answer.json()["status_url"])

    def _rows(self) -> dict[str, Content]:
        """What the next file says of which products; new ones are not there yet."""
        old = self._chance.sample(sorted(self._mine), min(len(self._mine), ROWS // 2))
        fresh = [f"M-{next(_numbers)}" for _ in range(ROWS - len(old))]
        for sku in fresh:
            self._ledger.add(Tracked(sku, {None}))
        return {
            sku: Content(title(self._chance), f"{self._chance.randrange(1000)}.50")
            for sku in [*old, *fresh]
        }

    def _follow(self, http: httpx.Client, url: str) -> None:
        """Follow the import to its end, or until stopped."""
        while not self._stopping.wait(_PAUSE_S):
            sent = send(self._ledger, "import", lambda: http.get(url))
            status = sent.answer.json() if sent.told == "acknowledged" else {}
            if status.get("state") in ("failed", "cancelled") or status.get("bad"):
                self._ledger.surprise(f"an import ended so: {status}")
                return
            if status.get("state") == "done":
                self.conclude(sent.begin, sent.end)
                self.done += 1
                return


def csv_of(contents: Mapping[str, Content]) -> str:
    """An import file of these products, by sku."""
    lines = [f"{sku},{content.title},{content.price}\n" for sku, content in contents.items()]
    return "".join(["sku,title,price\n", *lines])
