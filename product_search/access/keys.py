"""Keys at rest: made, listed, revoked; of a key's text the database has a digest alone."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from data_models import ChangeOperation
from orm_models import ApiKey
from product_search.changes.record import Subject, record_change
from product_search.context import Scope
from product_search.database.clock import database_clock
from product_search.errors import StartError

# 62 characters without a sign: a click selects a key whole.
_LETTERS = string.ascii_letters + string.digits
_ID_LENGTH, _SECRET_LENGTH = 12, 43  # 71 and 256 bits
_KEY = re.compile(rf"(?:psk|pspk)_([A-Za-z0-9]{{{_ID_LENGTH}}})_[A-Za-z0-9]{{{_SECRET_LENGTH}}}")
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
MAX_NAME = 100
_USES = timedelta(minutes=10)  # how exactly the last use of a key is known


class KeyRefused(StartError):
    """There is no such key, or it can't be made so; the message says why."""


class NewKey(NamedTuple):
    """A key that was made; its text is shown now and never again."""

    key_id: str
    text: str


def create_key(
    session: Session,
    name: str,
    scope: Scope,
    origins: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> NewKey:
    """Make a key.

    Args:
        session: the transaction.
        name: by which the log of changes knows whoever holds the key.
        scope: the most that it may do.
        origins: of the pages that may use it, which makes it publishable: it may then read only.
        expires_at: when it ends by itself.

    Raises:
        KeyRefused: the name or an origin is none, or what is publishable is to write.
    """
    if not (name.strip() and name.isprintable() and len(name) <= MAX_NAME):
        raise KeyRefused(f"密钥的名字应有 1 到 {MAX_NAME} 个可见的字符")
    if origins and scope is not Scope.read:
        raise KeyRefused("可公开的密钥人人看得见，只能是 read")
    key_id = _draw(_ID_LENGTH)
    text = f"{'pspk' if origins else 'psk'}_{key_id}_{_draw(_SECRET_LENGTH)}"
    session.add(
        ApiKey(
            key_id=key_id,
            name=name.strip(),
            digest=digest_of(text),
            scope=scope,
            origins=sorted({_origin(one) for one in origins}),
            created_at=database_clock(session),
            expires_at=expires_at,
        )
    )
    told = {"name": name.strip(), "scope": scope, "origins": list(origins)}
    record_change(session, ChangeOperation.key_created, Subject("key", key_id), told)
    return NewKey(key_id, text)


def list_keys(session: Session) -> Sequence[ApiKey]:
    """Return every key, revoked ones too, in the order in which they were made."""
    return session.scalars(select(ApiKey).order_by(ApiKey.id)).all()


def revoke_key(session: Session, key_id: str) -> ApiKey:
    """Revoke a key, for good; one that is revoked stays so.

    Raises:
        KeyRefused: there is no such key.
    """
    key = session.scalars(select(ApiKey).where(ApiKey.key_id == key_id)).one_or_none()
    if key is None:
        raise KeyRefused(f"没有编号为 {key_id!r} 的密钥（manage keys list 列出全部）")
    if key.revoked_at is None:
        key.revoked_at = database_clock(session)
        told = {"name": key.name}
        record_change(session, ChangeOperation.key_revoked, Subject("key", key_id), told)
    return key


def fetch_live(session: Session) -> Sequence[ApiKey]:
    """Return the keys that are not revoked; of these some may have expired."""
    return session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None))).all()


def note_uses(session: Session, key_ids: Sequence[str]) -> None:
    """Note that the keys are in use, but for those of which that was noted lately."""
    now = database_clock(session)
    is_old = ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at < now - _USES)
    session.execute(
        update(ApiKey).where(ApiKey.key_id.in_(key_ids), is_old).values(last_used_at=now)
    )


def digest_of(text: str) -> bytes:
    """Return the key's digest: what is drawn from 256 bits needs no slow one."""
    return hashlib.sha256(text.encode()).digest()


def id_of(text: str) -> str | None:
    """Return the public part of a key; None of what is no key by its shape."""
    found = _KEY.fullmatch(text)
    return found and found[1]


def _draw(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def _origin(given: str) -> str:
    """Return the origin as browsers write it. Raises KeyRefused."""
    origin = given.lower().removesuffix("/")
    if _ORIGIN.fullmatch(origin) is None:
        raise KeyRefused(f"来源应形如 https://shop.example：{given!r}")
    scheme, _, host = origin.partition("://")
    return f"{scheme}://{host.removesuffix(':80' if scheme == 'http' else ':443')}"
