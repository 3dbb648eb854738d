"""The last door: whoever asks for too much waits."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from product_search.api.doors.front import Doors
from product_search.api.errors import answer
from product_search.api.operations import Operations
from product_search.context import current_principal
from product_search.errors import RateLimited


class RateDoor:
    """ASGI middleware: refuses requests of a caller that asks for too much, before their bodies."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        """Wrap the app."""
        self._app = app
        self._doors = doors
        self._operations: Operations | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request pass, or answer it."""
        if scope["type"] == "http" and self._doors.limits.are_on:
            try:
                self._count(scope)
            except RateLimited as error:
                self._doors.refusals.note(scope, error)
                await answer(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _count(self, scope: Scope) -> None:
        """Count the request. Raises RateLimited."""
        if self._operations is None:
            self._operations = Operations(scope["app"].routes)
        operation = self._operations.find(scope) or ""
        address, _ = scope.get("client") or ("", 0)  # none on a Unix socket
        self._doors.limits.count(operation, current_principal.get(), address)
