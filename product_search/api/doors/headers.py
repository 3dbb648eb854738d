"""What every answer says to browsers: what it is, who may show it, and which pages may read it."""

from __future__ import annotations

from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from product_search.api.doors.origins import Headers, Origins

# No page shows an answer in a frame, runs anything in it, or takes it for another kind of file.
_OF_ALL: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
]
_OF_DATA = [*_OF_ALL, (b"cross-origin-resource-policy", b"same-origin")]
# Pages of other sites show images by <img>; they read none of their bytes by it.
_OF_IMAGES = [*_OF_ALL, (b"cross-origin-resource-policy", b"cross-origin")]
_VARY = (b"vary", b"Origin")  # a cache keeps no answer for another page


class KnowsOrigins(Protocol):
    """Knows of which origins pages may read, at the moment."""

    origins: Origins


class AnswerHeaders:
    """ASGI middleware: adds these headers to every answer; those that a route has set stay."""

    def __init__(self, app: ASGIApp, doors: KnowsOrigins) -> None:
        """Wrap the app."""
        self._app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add to the beginning of the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked_by = [value for name, value in scope["headers"] if name == b"origin"]

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = _completed(message.get("headers", ()))
                headers.append(_VARY)
                if len(asked_by) == 1:
                    headers += self._doors.origins.told(asked_by[0])
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, sent)


def _completed(headers: Headers) -> Headers:
    """Return the headers with the missing ones."""
    set_by_route = dict(headers)
    is_image = set_by_route.get(b"content-type", b"").startswith(b"image/")
    missing = _OF_IMAGES if is_image else _OF_DATA
    return [*headers, *(one for one in missing if one[0] not in set_by_route)]
