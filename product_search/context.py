"""Who asks for the work in hand, and in which request: a door sets it, records read it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a caller may do; each scope holds the ones before it."""

    read = "read"
    write = "write"
    admin = "admin"

    def includes(self, other: Scope) -> bool:
        """Return whether whoever has this scope may do what asks for the other."""
        order = list(Scope)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller that was let in.

    Attributes:
        name: of its key, as operators know it; `anonymous` where keys are off.
        scope: the most that it may do.
        key_id: public part of its key; None without a key.
        origins: of the pages that may use a publishable key; empty for every other caller.
    """

    name: str
    scope: Scope
    key_id: str | None = None
    origins: tuple[str, ...] = ()


ANYBODY = Principal("anonymous", Scope.admin)  # where keys are off
SERVICE = Principal("service", Scope.admin)  # what the service does unasked, at its start

MAX_REQUEST_ID = 64
_REQUEST_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_REQUEST_ID}}}")
_MAX_JOINED = 8  # requests whose work is done together and that a line of the log names

current_principal: ContextVar[Principal] = ContextVar("current_principal", default=ANYBODY)
current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)


def is_request_id(text: str) -> bool:
    """Return whether a text from outside may serve as a request's id."""
    return _REQUEST_ID.fullmatch(text) is not None


@contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    """Have the principal be the one who asks for what is done inside the block."""
    token = current_principal.set(principal)
    try:
        yield
    finally:
        current_principal.reset(token)


@contextmanager
def within_request(request_id: str | None) -> Iterator[None]:
    """Have what is done inside the block be part of the request; of none where that is None."""
    token = current_request_id.set(request_id)
    try:
        yield
    finally:
        current_request_id.reset(token)


def join_request_ids(request_ids: Iterable[str | None]) -> str | None:
    """Return the ids of requests whose work is done together, each once; None without any."""
    several = [one for one in dict.fromkeys(request_ids) if one is not None]
    if len(several) > _MAX_JOINED:
        several[_MAX_JOINED:] = ["…"]
    return ",".join(several) or None
