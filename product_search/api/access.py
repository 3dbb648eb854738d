"""The door that knows who asks, and lets nobody do what isn't theirs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import parse_qs

import anyio
import anyio.to_thread
from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

from product_search import context
from product_search.access.addresses import PARAMETER
from product_search.access.errors import KeyInvalid, KeyRequired
from product_search.access.keyring import Keyring
from product_search.access.keys import id_of
from product_search.access.scopes import SIGNED, needed_scope, require_scope
from product_search.api.dependencies import service_of
from product_search.api.doors.refusals import RefusalLog
from product_search.api.errors import answer
from product_search.api.operations import Operations
from product_search.context import Principal, current_principal
from product_search.errors import AppError

T = TypeVar("T")
# Who asks for what needs no key, and whoever has been given a picture's signed address.
_VISITOR = Principal("anonymous", context.Scope.read)
_HOLDER = Principal("signed-address", context.Scope.read)


class Access:
    """ASGI middleware: where keys are required, the caller is known and may do what it asks for.

    What is refused is answered before any of its body is read.
    """

    def __init__(self, app: ASGIApp, refusals: RefusalLog) -> None:
        """Wrap the app; what is refused goes into the log."""
        self._app = app
        self._refusals = refusals
        self._operations: Operations | None = None
        # One reading of the keys is all that whoever looks again waits for.
        self._looking = anyio.CapacityLimiter(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or answer why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        service = service_of(scope["app"])
        keyring = service.resources.keyring
        if keyring is None:
            service.listening.note((scope.get("server") or (None,))[0])
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no route speaks WebSocket, and none would be guarded
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            principal = await self._admit(scope, keyring)
        except AppError as error:
            self._refusals.note(scope, error)
            await answer(error)(scope, receive, send)
            return
        current_principal.set(principal)  # until RequestIds ends it: all lines of the log name it
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, keyring: Keyring) -> Principal:
        """Return who asks.

        Raises:
            KeyRequired, KeyInvalid, Forbidden: the caller may not do this.
            DatabaseUnavailable: it can't be known.
        """
        if self._operations is None:
            self._operations = Operations(scope["app"].routes)
        operation = self._operations.find(scope)
        if needed_scope(operation) is None:
            return _VISITOR
        credentials = _values(scope, b"authorization")
        if not credentials and operation in SIGNED and (signature := _signature(scope)):
            path = get_route_path(scope)
            if await self._known(keyring, lambda: keyring.addresses.is_signed(path, signature)):
                return _HOLDER
            raise KeyInvalid("图片地址的签名无效或已过期：请重新取得这个地址")
        text = _bearer(credentials)
        principal = await self._known(keyring, lambda: keyring.find(text))
        if principal is None:
            raise KeyInvalid(KeyInvalid.example)
        require_scope(principal, operation, _origin(scope))
        return principal

    async def _known(self, keyring: Keyring, find: Callable[[], T]) -> T:
        """Return what is found, if need be among keys and secrets that were made just now."""
        since = time.monotonic()
        if found := find():
            return found
        await anyio.to_thread.run_sync(keyring.look_again, since, limiter=self._looking)
        return find()


def _bearer(credentials: list[bytes]) -> str:
    """Return the key. Raises KeyRequired where there is none, KeyInvalid where it is no key."""
    if not credentials:
        raise KeyRequired(KeyRequired.example)
    scheme, _, text = credentials[0].decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        raise KeyRequired(KeyRequired.example)
    if len(credentials) > 1:
        raise KeyInvalid("请求里有不止一个 Authorization")
    if id_of(text := text.strip()) is None:
        raise KeyInvalid(KeyInvalid.example)
    return text


def _signature(scope: Scope) -> str | None:
    query: bytes = scope["query_string"]
    given = parse_qs(query.decode("latin-1")).get(PARAMETER)
    return given[-1] if given else None


def _origin(scope: Scope) -> str | None:
    origins = _values(scope, b"origin")
    return origins[0].decode("latin-1") if len(origins) == 1 else None


def _values(scope: Scope, header: bytes) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == header]
