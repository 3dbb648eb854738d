"""A write load: clients that create, change and delete products over HTTP, without end."""

from __future__ import annotations

import base64
import io
import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import httpx
from PIL import Image

from tests.clock import until
from tests.faults.ledger import Content, Ledger, Tracked, Trouble, hash_of

CLIENTS = 4
KEPT = 12  # about so many products has each client
PATIENCE_S = 60.0  # for one answer: longer than any store's time-out
_PAUSE_S = 0.02  # after a refused request
_SKU = "L-"  # of the products that belong to a load
_numbers = itertools.count(1)


def title(chance: random.Random) -> str:
    """Of words that the small encoders know, so that no two have the same vectors."""
    things = chance.choice(["书包", "双肩包", "运动鞋", "手机壳", "苹果"])
    return f"{chance.choice('红蓝绿')}色{things} {' '.join(str(chance.randrange(10**6)))}"


def picture(chance: random.Random) -> bytes:
    """A small PNG that is like no other."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", (16, 16), chance.randbytes(16 * 16 * 3)).save(buffer, "PNG")
    return buffer.getvalue()


class Sent(NamedTuple):
    """What a request was told, its answer, and from when to when it ran."""

    told: str
    answer: httpx.Response
    begin: float
    end: float


def send(ledger: Ledger, kind: str, request: Callable[[], httpx.Response]) -> Sent:
    """Send a request of this kind, and note in the ledger what it was told.

    That is: acknowledged, unanswered, refused, or absent (404).
    """
    begin = time.monotonic()
    answer = httpx.Response(0)
    try:
        answer = request()
        told = _told(answer)
    except httpx.ConnectError:
        told = "refused"  # it was never sent
    except httpx.TimeoutException:
        told = "surprising"  # and it may still be done, whatever comes after it
    except httpx.TransportError:
        told = "unanswered"
    end = time.monotonic()
    if told == "surprising":
        ledger.surprise(f"{answer.status_code} {answer.content!r}")
    elif told in ("refused", "unanswered"):
        ledger.trouble(Trouble(kind, f"{told} {answer.status_code or ''}".strip(), begin, end))
    ledger.count(told if kind == "write" else f"{kind} {told}", end - begin)
    return Sent(told, answer, begin, end)


class Load:
    """Clients in threads of their own, each with its own products, until stopped.

    Each rests for `pause_s` seconds after each write.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        ledger: Ledger,
        chance: random.Random,
        pause_s: float = 0.0,
    ) -> None:
        self._ledger = ledger
        self._stopping = threading.Event()
        there = sorted(sku for sku in ledger.products if sku.startswith(_SKU))
        self._clients = [
            _Client(
                addresses[number % len(addresses)],
                ledger,
                [ledger.products[sku] for sku in there[number::CLIENTS]],
                random.Random(chance.random()),
                pause_s,
            )
            for number in range(CLIENTS)
        ]
        self._threads = [
            threading.Thread(target=client.run, args=(self._stopping,), daemon=True)
            for client in self._clients
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)
        assert not any(thread.is_alive() for thread in self._threads)

    def wait(self, writes: int) -> None:
        """Until so many more writes were acknowledged."""
        enough = self._ledger.answers["acknowledged"] + writes
        until(lambda: self._ledger.answers["acknowledged"] >= enough, f"{writes} more writes")


class _Client:
    def __init__(
        self,
        address: str,
        ledger: Ledger,
        mine: list[Tracked],
        chance: random.Random,
        pause_s: float,
    ) -> None:
        self._address = address
        self._ledger = ledger
        self._mine = mine
        self._chance = chance
        self._pause_s = pause_s

    def run(self, stopping: threading.Event) -> None:
        with httpx.Client(base_url=self._address, timeout=PATIENCE_S) as http:
            while not stopping.is_set():
                try:
                    answered = self._write(http)
                except Exception as error:  # a thread must not die unseen
                    self._ledger.surprise(f"{type(error).__name__}: {error}")
                    raise
                if self._pause_s or not answered:
                    stopping.wait(self._pause_s if answered else _PAUSE_S)

    def _write(self, http: httpx.Client) -> bool:
        known = [product for product in self._mine if product.product_id is not None]
        share = self._chance.random()
        if not known or (len(known) < KEPT and share < 0.5):
            return self._create(http)
        product = self._chance.choice(known)
        if share < 0.15:
            return self._delete(http, product)
        return self._patch(http, product)

    def _create(self, http: httpx.Client) -> bool:
        sku = f"{_SKU}{next(_numbers)}"
        changes, body = self._content(
            ["title", "price"] + ["image_hash"] * self._chance.randrange(2)
        )
        content = Content(**changes)
        sent = self._send(lambda: http.post("/product", json=body | {"sku": sku}))
        if sent.told == "acknowledged":
            product_id = sent.answer.json()["product_id"]
            self._mine.append(self._ledger.add(Tracked(sku, {content}, product_id), sent.begin))
        elif sent.told == "unanswered":  # its id was never told: nobody writes to it any more
            self._ledger.add(Tracked(sku, {content, None}), sent.begin)
        return sent.told == "acknowledged"

    def _patch(self, http: httpx.Client, product: Tracked) -> bool:
        names = ["title", "price", "image_hash", "description"]
        changes, body = self._content(self._chance.sample(names, self._chance.randint(1, 2)))
        path = f"/product/{product.product_id}"
        return self._note(product, changes, self._send(lambda: http.patch(path, json=body)))

    def _delete(self, http: httpx.Client, product: Tracked) -> bool:
        path = f"/product/{product.product_id}"
        return self._note(product, None, self._send(lambda: http.delete(path)))

    def _content(self, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """New values for these columns, and the JSON that sends them."""
        changes: dict[str, Any] = {}
        body: dict[str, Any] = {}
        for name in names:
            if name == "image_hash":
                sent = picture(self._chance) if self._chance.random() < 0.8 else None
                changes[name] = hash_of(sent)
                body["image_base64"] = sent and base64.b64encode(sent).decode()
            elif name == "price":
                changes[name] = body[name] = f"{self._chance.randrange(10**6) / 100:.2f}"
            else:
                changes[name] = body[name] = title(self._chance)
        return changes, body

    def _note(self, product: Tracked, changes: dict[str, Any] | None, sent: Sent) -> bool:
        if sent.told == "acknowledged":
            product.acknowledged(changes)
        elif sent.told == "unanswered":
            product.unanswered(changes)
        elif sent.told == "absent":
            if None not in product.possible:
                self._ledger.surprise(f"{product.sku} is gone: {sent.answer.text}")
            product.acknowledged(None)
        self._ledger.changed(product, sent.begin, sent.end)
        if product.possible == {None}:
            self._mine.remove(product)
        return sent.told == "acknowledged"

    def _send(self, request: Callable[[], httpx.Response]) -> Sent:
        return send(self._ledger, "write", request)


def _told(answer: httpx.Response) -> str:
    if answer.is_success:
        return "acknowledged"
    code = answer.json().get("code")
    if code == "outcome_unknown":
        return "unanswered"
    if answer.status_code in (429, 503) and int(answer.headers.get("Retry-After", 0)) > 0:
        return "refused"
    return "absent" if code == "product_not_found" else "surprising"
