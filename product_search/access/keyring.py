"""The live keys in memory, read again each second: no request costs a statement."""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy.orm import Session

from orm_models import ApiKey, Database
from product_search.access.addresses import SignedAddresses, ensure_secret, fetch_secrets
from product_search.access.keys import digest_of, fetch_live, id_of, note_uses
from product_search.context import Principal, Scope
from product_search.errors import AppError, DatabaseUnavailable

log = logging.getLogger(__name__)

READ_EVERY_S = 1.0  # so late at most a revoked key ends
# While the database is away its keys are good for so long: what they can reach without it is
# little, and the operator wants to see the health of the rest.
GRACE_S = 300.0
_LEAST_PAUSE_S = 0.1  # between two readings, whatever strangers ask for
_NOTE_USES_EVERY_S = 60.0


class _LiveKey(NamedTuple):
    digest: bytes
    principal: Principal
    expires_at: float | None  # seconds since 1970

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= time.time()


class _Reading(NamedTuple):
    """What the database held when it was last read."""

    keys: Mapping[str, _LiveKey]
    origins: frozenset[str]
    secrets: Sequence[bytes]
    begun: float  # on the monotonic clock


_NOTHING = _Reading({}, frozenset(), (), float("-inf"))


class Keyring:
    """Knows whose a key is, and signs addresses of pictures.

    One thread reads again and again by `refresh`; any may ask.
    """

    def __init__(self, database: Database) -> None:
        """Know nothing yet."""
        self.addresses = SignedAddresses(lambda: self._last.secrets)
        self._database = database
        self._last = _NOTHING
        self._failed_at = float("-inf")
        self._is_away = False
        self._reading = threading.Lock()
        self._used: set[str] = set()
        self._uses_noted_at = time.monotonic()

    @property
    def is_empty(self) -> bool:
        """Whether there is no key with which anything could be done."""
        return not self._last.keys

    @property
    def origins(self) -> frozenset[str]:
        """The origins of the pages for which there are publishable keys."""
        return self._last.origins

    def open(self) -> None:
        """Draw a signing secret where there is none, and read for the first time.

        Raises:
            DatabaseUnavailable: the database does not answer, or can't be written.
        """
        if not self._database.read(fetch_secrets):
            self._database.write(ensure_secret)
        self._read()

    def find(self, text: str) -> Principal | None:
        """Return whose key this is; None of what is no live key as far as is known.

        Raises:
            DatabaseUnavailable: the keys were last read too long ago to be trusted.
        """
        last, key_id = self._last, id_of(text)
        key = last.keys.get(key_id or "")
        if key_id is None or key is None or not hmac.compare_digest(key.digest, digest_of(text)):
            return None
        if key.has_expired:
            return None
        if time.monotonic() - last.begun > GRACE_S:
            raise DatabaseUnavailable("数据库暂时不可用，无法核对密钥，请稍后重试")
        self._used.add(key_id)
        return key.principal

    def look_again(self, since: float) -> None:
        """Read, unless that was begun after this time of the monotonic clock.

        All who wait share one reading, and there are at most some a second, however many ask.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        with self._reading:
            if self._last.begun >= since:
                return
            if self._failed_at > since - READ_EVERY_S:
                raise DatabaseUnavailable(DatabaseUnavailable.example)
            time.sleep(max(0.0, self._last.begun + _LEAST_PAUSE_S - time.monotonic()))
            self._read()

    def refresh(self) -> int:
        """Read, and at times note which keys are in use; return 0.

        That the database does not answer is told once; the next call asks it again.
        """
        try:
            with self._reading:
                self._read()
        except AppError as error:
            if not self._is_away:
                log.warning("keys can't be read; known ones are good for a while: %s", error)
            self._is_away = True
            return 0
        self._is_away = False
        if time.monotonic() >= self._uses_noted_at + _NOTE_USES_EVERY_S:
            self.note_uses()
        return 0

    def note_uses(self) -> None:
        """Write down which keys were used since the last time."""
        self._uses_noted_at = time.monotonic()
        used, self._used = self._used, set()
        try:
            if used:
                self._database.write(note_uses, sorted(used))
        except AppError as error:
            log.warning("uses of keys were not written down: %s", error)

    def _read(self) -> None:
        begun = time.monotonic()
        try:
            keys, secrets = self._database.read(_fetch)
        except AppError:
            self._failed_at = time.monotonic()
            raise
        live = {key.key_id: one for key in keys if not (one := _live(key)).has_expired}
        origins = frozenset(o for one in live.values() for o in one.principal.origins)
        self._last = _Reading(live, origins, secrets, begun)


def _fetch(session: Session) -> tuple[Sequence[ApiKey], list[bytes]]:
    return fetch_live(session), fetch_secrets(session)


def _live(key: ApiKey) -> _LiveKey:
    principal = Principal(key.name, Scope(key.scope), key.key_id, tuple(key.origins))
    expires_at = None if key.expires_at is None else key.expires_at.timestamp()
    return _LiveKey(key.digest, principal, expires_at)
