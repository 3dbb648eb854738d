"""Popular queries: what people search for and find, counted without anything about them.

A row is a query, a day and a number. No address, no account, no cookie and no time of day is
kept, and no query that looks like an address, a telephone number or another number of somebody.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, func, literal_column, select
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.orm import Session

from data_models import SearchMode, SearchRequest, SearchResponse, SuggestionKind
from orm_models import Database, PopularQuery
from product_search.database.clock import Clock, database_clock
from product_search.errors import AppError
from product_search.suggestions.phrase_counts import weight
from product_search.suggestions.prefix_index import PrefixIndex, Source
from product_search.text.analysis import fold
from product_search.text.phrases import compact, words_of

log = logging.getLogger(__name__)

MIN_SEARCHES = 3  # of a query, until it is suggested
WINDOW = timedelta(days=30)
_MOST_ROWS = 100_000
_MOST_SUGGESTED = 5000
_MOST_WAITING = 10_000  # queries in memory, between two writes
_READ_EVERY_S = 60.0
_LENGTHS = range(2, 41)  # characters
_PERSONAL = re.compile(r"@|://|(?:\d[\s-]*){8}")
_BONUS = 2.0  # people have asked for it: more than a word that products have


class Popular(NamedTuple):
    """A query, and how often it was asked in the window."""

    text: str
    searches: int


class PopularQueries:
    """Counts queries in memory, writes the counts to the database, and reads everybody's.

    Of what is asked again and again between two writes one search counts: the same person who
    turns pages, or reloads, is one.
    """

    def __init__(
        self, database: Database, *, are_counted: bool = True, clock: Clock = database_clock
    ) -> None:
        """Begin without queries; `exchange` reads them."""
        self.suggestions = PrefixIndex()
        self._database = database
        self._are_counted = are_counted
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._read: Sequence[Popular] = ()
        self._read_again_at = 0.0

    def note(self, request: SearchRequest, response: SearchResponse) -> None:
        """Count the search's query, where it is a person's text that has found something."""
        if request.text is not None and _found(request, response):
            self.count(request.text)

    def count(self, text: str) -> None:
        """Count a query that has found something; quick, since nothing is written."""
        if not self._are_counted:
            return
        with self._lock:
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.add(text)

    def exchange_if_due(self) -> int:
        """Write what was counted, and at times read what is popular; return 0."""
        self.write()
        if time.monotonic() >= self._read_again_at:
            self.read()
            self._read_again_at = time.monotonic() + _READ_EVERY_S
        return 0

    def write(self) -> None:
        """Add what was counted to the database.

        Raises:
            DatabaseUnavailable: the database does not answer; these counts are lost.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        texts = sorted({fold(text) for text in waiting if is_countable(fold(text))})
        if texts:
            self._database.write(_add, texts, self._clock)

    def read(self) -> None:
        """Read what is popular now; without counting, drop what was counted before.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        if not self._are_counted:
            if self._database.read(_has_any):
                self._database.write(_forget_all)
            return
        popular = self._database.read(_fetch_popular, self._clock)
        if popular != self._read:
            self.suggestions = PrefixIndex(map(_source, popular))
            self._read = popular

    def close(self) -> None:
        """Write what was counted last."""
        try:
            self.write()
        except AppError as error:
            log.warning("the last popular queries were not counted: %s", error)


def is_countable(text: str) -> bool:
    """Return whether a folded query may be kept: nobody's number or address, and not too long."""
    return len(text) in _LENGTHS and bool(compact(text)) and not _PERSONAL.search(text)


def _found(request: SearchRequest, response: SearchResponse) -> bool:
    """Return whether just a text was searched for, as it stands, and something fits it."""
    is_text = not (request.image_count or request.parts)
    is_first = request.cursor is None and not request.offset
    is_judged = response.mode is SearchMode.hybrid and response.min_confidence != 0
    is_as_typed = response.corrected_query is None
    return is_text and is_first and is_judged and is_as_typed and bool(response.hits)


def _source(popular: Popular) -> Source:
    heft = weight(popular.searches) + _BONUS
    words = words_of(popular.text)
    return Source(popular.text, SuggestionKind.query, None, heft, words, is_found_within=True)


def _add(session: Session, texts: Collection[str], clock: Clock) -> None:
    today = clock(session).date()
    rows = [{"text": text, "day": today, "searches": 1} for text in texts]
    session.connection().execute(_upsert(session), rows)
    session.execute(delete(PopularQuery).where(PopularQuery.day <= today - WINDOW))
    count = session.scalar(select(func.count()).select_from(PopularQuery)) or 0
    if count > _MOST_ROWS:
        rarest = select(PopularQuery.id).order_by(PopularQuery.searches, PopularQuery.day)
        ids = session.scalars(rarest.limit(count - _MOST_ROWS)).all()
        session.execute(delete(PopularQuery).where(PopularQuery.id.in_(ids)))


def _upsert(session: Session) -> Any:
    """Return the statement that counts a search, by one step: other processes count as well."""
    # No parameter: PyMySQL takes none there from many rows.
    more = PopularQuery.searches + literal_column("1")
    if session.get_bind().dialect.name == "sqlite":
        added = sqlite.insert(PopularQuery)
        return added.on_conflict_do_update(index_elements=["text", "day"], set_={"searches": more})
    return mysql.insert(PopularQuery).on_duplicate_key_update(searches=more)


def _fetch_popular(session: Session, clock: Clock) -> list[Popular]:
    since = clock(session).date() - WINDOW
    searches = func.sum(PopularQuery.searches)
    popular = (
        select(PopularQuery.text, searches)
        .where(PopularQuery.day > since)
        .group_by(PopularQuery.text)
        .having(searches >= MIN_SEARCHES)
        .order_by(searches.desc(), PopularQuery.text)
        .limit(_MOST_SUGGESTED)
    )
    return [Popular(text, int(count)) for text, count in session.execute(popular)]


def _has_any(session: Session) -> bool:
    return session.scalar(select(PopularQuery.id).limit(1)) is not None


def _forget_all(session: Session) -> None:
    session.execute(delete(PopularQuery))
