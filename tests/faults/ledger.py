"""What the requests of a write load were told: from that, what each product may now be."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from orm_models import Product
from tests.faults.versions import Versions


@dataclass(frozen=True)
class Content:
    """A product as its requests wrote it; `image_hash` names the image that was sent."""

    title: str
    price: str | None = None
    description: str | None = None
    image_hash: str | None = None

    @staticmethod
    def of(row: Product) -> Content:
        """What the row holds."""
        price = None if row.price is None else f"{row.price:.2f}"
        return Content(row.title, price, row.description, row.image_hash)

    @property
    def shown(self) -> tuple[str | None, ...]:
        """What of it a product in an answer tells."""
        return self.title, self.price, self.description


def hash_of(picture: bytes | None) -> str | None:
    """The name under which the image is kept."""
    return None if picture is None else hashlib.sha256(picture).hexdigest()


@dataclass
class Tracked:
    """A product by its sku, and all that it may now be; None: not there.

    A request that was acknowledged leaves one possibility, one without an answer adds its own.
    """

    sku: str
    possible: set[Content | None]
    product_id: int | None = None

    def acknowledged(self, changes: Mapping[str, Any] | None) -> None:
        """These changes were made; None: the product was deleted."""
        self.possible = self._after(changes)

    def unanswered(self, changes: Mapping[str, Any] | None) -> None:
        """These changes may have been made."""
        self.possible |= self._after(changes)

    def _after(self, changes: Mapping[str, Any] | None) -> set[Content | None]:
        if changes is None:
            return {None}
        return {replace(content, **changes) for content in self.possible if content is not None}


class Trouble(NamedTuple):
    """A request, a "write" or of another kind, that was not done, and from when to when it ran."""

    kind: str
    told: str
    begin: float
    end: float


@dataclass
class Ledger:
    """All products that were ever asked for, and what the requests were answered."""

    products: dict[str, Tracked] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    longest_s: float = 0.0
    versions: Versions = field(default_factory=Versions)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, product: Tracked, begin: float = 0.0) -> Tracked:
        """Keep track of one more, which was asked for at this moment."""
        with self._lock:
            self.products[product.sku] = product
        self.changed(product, begin, begin)
        return product

    def changed(self, product: Tracked, begin: float, end: float) -> None:
        """What the product may be has changed, by a request that ran from then to then."""
        shown = {content.shown for content in product.possible if content is not None}
        self.versions.may_be(product.sku, shown, begin, end)

    def count(self, answer: str, seconds: float) -> None:
        """One more request was answered so."""
        with self._lock:
            self.answers[answer] += 1
            self.longest_s = max(self.longest_s, seconds)

    def trouble(self, trouble: Trouble) -> None:
        """A request was not done, which only a fault may explain."""
        with self._lock:
            self.troubles.append(trouble)

    def shown(self, products: Iterable[Mapping[str, Any]], begin: float, end: float) -> None:
        """An answer to a request that ran from then to then has shown these products."""
        contents = (
            (one["sku"], (one["title"], one["price"], one["description"])) for one in products
        )
        self.versions.check(contents, begin, end)

    def surprise(self, what: str) -> None:
        """An answer that no request may get."""
        with self._lock:
            self.surprises.append(what)

    def lost_writes(self, rows: Iterable[Product]) -> list[str]:
        """Rows that are not as their requests were told, a line each; what is known, is settled."""
        found = {row.sku or "": row for row in rows}
        wrong = [f"row {sku!r} was never asked for" for sku in found.keys() - self.products.keys()]
        for sku, product in self.products.items():
            row = found.get(sku)
            now = None if row is None else Content.of(row)
            if now not in product.possible:
                wrong.append(f"{sku} is {now}, not one of {product.possible}")
            product.possible = {now}
            product.product_id = None if row is None else row.id
        self.products = {sku: self.products[sku] for sku in found if sku in self.products}
        return [*wrong, *self.surprises]
