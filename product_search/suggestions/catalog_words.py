"""The catalog's words in memory, read from the database again when products have changed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orm_models import Database, Product
from product_search.indexing.stored_vectors import iterate_products
from product_search.suggestions.phrase_counts import PhraseCounts
from product_search.suggestions.prefix_index import PrefixIndex
from product_search.text.vocabulary import Vocabulary, product_words

T = TypeVar("T")
_COLUMNS = (Product.id, Product.title, Product.category, Product.brand)
# Times the processor's time of a reading, or the database's, until the next: 3 % of one core each.
_REST = 30
_SLICE = 10  # products, or suggestions, between two pauses, which let searches run
_PAUSE_S = 0.002
_State = tuple[int, int, int]


class CatalogWords:
    """What the words of all products are; each process reads them for itself."""

    def __init__(self, database: Database, vocabulary: Vocabulary | None = None) -> None:
        """Begin without words but those that who indexes adds; `refresh` reads them."""
        self.vocabulary = Vocabulary() if vocabulary is None else vocabulary
        self.suggestions = PrefixIndex()
        self._database = database
        self._state: _State | None = None
        self._turn = threading.Lock()
        self._rests_until = 0.0

    def refresh_if_due(self) -> int:
        """Refresh, unless the last time was too costly to do it again already; return 0."""
        if time.monotonic() >= self._rests_until:
            begun = time.thread_time()
            asked_s = self.refresh()
            spent_s = max(time.thread_time() - begun, asked_s)
            self._rests_until = time.monotonic() + _REST * spent_s
        return 0

    def refresh(self) -> float:
        """Read the words anew where products were added, changed or deleted since.

        Returns for how many seconds the database was asked whether they were.

        Raises:
            DatabaseUnavailable: the database does not answer; the words are as before.
        """
        with self._turn:
            begun = time.monotonic()
            state = self._database.read(_fetch_state)
            asked_s = time.monotonic() - begun
            if state != self._state:
                self._read()
                self._state = state
        return asked_s

    def _read(self) -> None:
        latin: Counter[str] = Counter()
        added = self.vocabulary.added
        phrases = PhraseCounts()
        for rows in iterate_products(self._database, _COLUMNS):
            for row in _with_pauses(rows):
                latin.update(product_words(row.title, row.brand))
                phrases.add(row.title, row.category, row.brand)
        self.vocabulary.replace(latin, added)
        self.suggestions = PrefixIndex(_with_pauses(phrases.sources()))


def _with_pauses(items: Iterable[T]) -> Iterator[T]:
    """Yield the items, and let others have the interpreter now and then."""
    for number, item in enumerate(items):
        if number % _SLICE == 0:
            time.sleep(_PAUSE_S)
        yield item


def _fetch_state(session: Session) -> _State:
    """Return numbers of which one differs after every change of the catalog.

    An id is never given twice, and each change of a product's words raises its revision.
    """
    count, newest, revisions = session.execute(
        select(func.count(), func.max(Product.id), func.sum(Product.revision))
    ).one()
    return int(count), int(newest or 0), int(revisions or 0)
