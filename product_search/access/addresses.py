"""Addresses of pictures that browsers load: signed and expiring where keys are asked for."""

from __future__ import annotations

import hmac
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from data_models import ChangeOperation
from orm_models import SigningSecret
from product_search.changes.record import Subject, record_change
from product_search.database.clock import database_clock

# The end of an address is rounded, so that it stays the same, and cached, for hours.
_STEP_S = 6 * 3600
LONGEST = timedelta(seconds=2 * _STEP_S)  # that an address is good; half of it at least
_SIGNATURE = re.compile(r"([0-9]{1,12})-([A-Za-z0-9_-]{22})")
PARAMETER = "signature"


class Addresses(Protocol):
    """Makes the addresses that answers give of pictures."""

    def of(self, path: str) -> str:
        """Return the address, from the API's root on, of the picture at this path."""
        ...


class OpenAddresses:
    """Addresses as they are, where nobody is asked for a key."""

    def of(self, path: str) -> str:
        """Return the path."""
        return path


OPEN = OpenAddresses()


class SignedAddresses:
    """Addresses that are good without a key, for some hours."""

    def __init__(self, current: Callable[[], Sequence[bytes]]) -> None:
        """Take what returns the secrets of now: the first signs, each verifies."""
        self._current = current

    def of(self, path: str) -> str:
        """Return the path with a signature."""
        end = (int(time.time()) // _STEP_S + 2) * _STEP_S
        return f"{path}?{PARAMETER}={end}-{_sign(self._current()[0], path, end)}"

    def is_signed(self, path: str, signature: str) -> bool:
        """Return whether the signature is this path's, and has not expired."""
        found = _SIGNATURE.fullmatch(signature)
        if found is None or int(found[1]) <= time.time():
            return False
        end, given = int(found[1]), found[2]
        return any(
            hmac.compare_digest(_sign(secret, path, end), given) for secret in self._current()
        )


def _sign(secret: bytes, path: str, end: int) -> str:
    """Return 128 bits of HMAC-SHA256, as text for an address."""
    whole = hmac.digest(secret, f"{end} {path}".encode(), "sha256")
    return urlsafe_b64encode(whole[:16])[:22].decode()


def fetch_secrets(session: Session) -> list[bytes]:
    """Return the secrets, the newest first."""
    return list(session.scalars(select(SigningSecret.secret).order_by(SigningSecret.id.desc())))


def ensure_secret(session: Session) -> None:
    """Draw a secret where there is none yet."""
    if session.scalar(select(SigningSecret.id).limit(1)) is None:
        _add_secret(session)


def rotate_secret(session: Session, *, at_once: bool) -> None:
    """Draw a new secret, by which addresses are signed from now on.

    Addresses that were given out before stay good until they expire, or end `at_once`.
    """
    old = delete(SigningSecret)
    if not at_once:
        # Twice the time: for a moment after a rotation processes still sign with the one before.
        long_ago = SigningSecret.created_at < database_clock(session) - 2 * LONGEST
        signed_since = session.scalar(select(func.max(SigningSecret.id)).where(long_ago))
        old = old.where(SigningSecret.id < (signed_since or 0))
    session.execute(old)
    _add_secret(session)
    told = {"at_once": at_once}
    record_change(session, ChangeOperation.signing_rotated, Subject("key"), told)


def _add_secret(session: Session) -> None:
    now = database_clock(session)
    session.add(SigningSecret(secret=secrets.token_bytes(32), created_at=now))
