"""Clients that search in all modes and list, and check each product that they are shown."""

from __future__ import annotations

import base64
import random
import threading
from collections.abc import Sequence
from typing import Any

import httpx

from tests.faults.ledger import Content, Ledger, Tracked, Trouble
from tests.faults.load import PATIENCE_S, Sent, picture, send, title

TEXT_MODES = ("text_to_text", "text_to_image", "hybrid")
IMAGE_MODES = ("image_to_image", "image_to_text")
_LISTED = 50
_TOP_K = 20
_PAUSE_S, _PAUSE_REFUSED_S = 0.02, 0.1


class Readers:
    """Searching and listing clients in threads of their own, until stopped.

    `settled` are products that nobody changes any more: each is found by its title whenever
    nothing is wrong.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        ledger: Ledger,
        chance: random.Random,
        settled: Sequence[Tracked],
        clients: int = 3,
    ) -> None:
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(
                target=_Reader(
                    addresses[number % len(addresses)],
                    ledger,
                    random.Random(chance.random()),
                    settled,
                ).run,
                args=(self._stopping,),
                daemon=True,
            )
            for number in range(clients)
        ]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)
        assert not any(thread.is_alive() for thread in self._threads)


class _Reader:
    def __init__(
        self, address: str, ledger: Ledger, chance: random.Random, settled: Sequence[Tracked]
    ) -> None:
        self._address = address
        self._ledger = ledger
        self._chance = chance
        self._settled = settled

    def run(self, stopping: threading.Event) -> None:
        with httpx.Client(base_url=self._address, timeout=PATIENCE_S) as http:
            while not stopping.is_set():
                try:
                    sent = self._read(http)
                except Exception as error:  # a thread must not die unseen
                    self._ledger.surprise(f"{type(error).__name__}: {error}")
                    raise
                stopping.wait(_PAUSE_S if sent.told == "acknowledged" else _PAUSE_REFUSED_S)

    def _read(self, http: httpx.Client) -> Sent:
        share = self._chance.random()
        if share < 0.1:
            return self._list(http)
        return self._look_for_settled(http) if share < 0.3 else self._search(http)

    def _list(self, http: httpx.Client) -> Sent:
        query = {"page_size": _LISTED, "page": self._chance.randint(1, 2)}
        sent = send(self._ledger, "list", lambda: http.get("/product/list", params=query))
        if sent.told == "acknowledged":
            self._ledger.shown(sent.answer.json()["items"], sent.begin, sent.end)
        return sent

    def _search(self, http: httpx.Client) -> Sent:
        mode = self._chance.choice([*TEXT_MODES, *IMAGE_MODES])
        body: dict[str, Any] = {"mode": mode, "top_k": _TOP_K, "min_confidence": 0}
        if mode in TEXT_MODES:
            body["text"] = title(self._chance)
        else:
            body["image_base64"] = base64.b64encode(picture(self._chance)).decode()
        return self._asked(http, body)

    def _asked(self, http: httpx.Client, body: dict[str, Any]) -> Sent:
        sent = send(self._ledger, "search", lambda: http.post("/search", json=body))
        if sent.told == "acknowledged":
            answer = sent.answer.json()
            shown = [hit["product"] for hit in answer["hits"]]
            self._ledger.shown(shown, sent.begin, sent.end)
            if answer.get("degraded"):
                told = f"degraded {answer['degraded']}"
                self._ledger.trouble(Trouble("search", told, sent.begin, sent.end))
        return sent

    def _look_for_settled(self, http: httpx.Client) -> Sent:
        product = self._chance.choice(self._settled)
        (content,) = product.possible
        assert content is not None
        body = {"mode": "text_to_text", "text": content.title, "filters": {"brand": product.sku}}
        sent = self._asked(http, body | {"min_confidence": 0})
        if sent.told == "acknowledged":
            skus = [hit["product"]["sku"] for hit in sent.answer.json()["hits"]]
            if skus != [product.sku]:
                told = f"{product.sku} is not found but {skus}: {_beside_hits(sent)}"
                again = self._asked(http, body | {"min_confidence": 0})
                told += f"; asked again: {again.told} {_beside_hits(again)}"
                self._ledger.trouble(Trouble("search", told, sent.begin, sent.end))
        return sent


def _beside_hits(sent: Sent) -> dict[str, Any]:
    """What an answer says of itself, and how many hits it has."""
    if sent.told != "acknowledged":
        return {}
    answer = sent.answer.json()
    return {key: value for key, value in answer.items() if value and key != "hits"} | {
        "hits": len(answer["hits"])
    }


def settle(address: str, ledger: Ledger, chance: random.Random, count: int = 10) -> list[Tracked]:
    """Create products that nobody will change, each of a brand that is its sku; all indexed."""
    made = []
    for number in range(count):
        sku, content = f"S-{number}", Content(title(chance))
        body = {"title": content.title, "sku": sku, "brand": sku}
        answer = httpx.post(f"{address}/product?wait=true", json=body, timeout=PATIENCE_S)
        assert answer.status_code == 201, answer.text
        made.append(ledger.add(Tracked(sku, {content}, answer.json()["product_id"])))
    return made
