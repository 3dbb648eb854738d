"""Each request's id: its X-Request-ID or a new one, kept in the context and told in the answer."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from product_search.context import ANYBODY, acting_as, is_request_id, within_request

_HEADER = b"x-request-id"


class RequestIds:
    """ASGI middleware: gives each request an id, for all that is done and logged on its behalf."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the app, with the handler of errors that no other takes."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the app answer within the request's id, and add that to the answer's headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _given(scope["headers"]) or secrets.token_hex(16)
        header = _HEADER, request_id.encode("ascii")

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        with acting_as(ANYBODY), within_request(request_id):  # until the caller is known
            await self._app(scope, receive, named)


def _given(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the id that the request brings, if it is one: it goes into logs and messages."""
    for name, value in headers:
        if name == _HEADER:
            text = value.decode("latin-1")
            return text if is_request_id(text) else None
    return None
