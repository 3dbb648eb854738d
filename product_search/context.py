"""Who asks for the work in hand, and in which request: a door sets it, records read it."""

from __future__ import annotations

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

current_principal: ContextVar[Principal] = ContextVar("current_principal", default=ANYBODY)
current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)
