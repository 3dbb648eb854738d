"""The doors of the pages' own server: by which names it is reached, and from which pages.

Streamlit takes whatever name a foreign page points at this machine, and lets pages of this
machine's other ports in; and whoever opens a session may do what visitors may.
"""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

import streamlit as st
from pydantic import ValidationError
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from product_search.errors import AppError, CrossSite
from product_search.hosts import Hosts, open_hosts
from product_search.settings import Settings

# The part of an image is chosen in a frame of the page's own.
_HEADERS = {
    b"content-security-policy": b"frame-ancestors 'self'",
    b"x-frame-options": b"SAMEORIGIN",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
}
_READING = ("GET", "HEAD", "OPTIONS")


class PageDoors:
    """ASGI middleware: refuses foreign names and pages, and lets no other site frame the pages."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        """Wrap the app; requests may be for these hosts."""
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request or a session in, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except AppError as error:
            await _refuse(error, scope, receive, send)
        else:
            await self._app(scope, receive, _with_headers(send))

    def _check(self, scope: Scope) -> None:
        """Raise what is wrong with where the request goes or comes from."""
        hosts = _values(scope, b"host")
        self._hosts.check(hosts, scope.get("http_version", "1.1"))
        origins = _values(scope, b"origin")
        reads = scope["type"] == "http" and scope["method"] in _READING
        if reads or not origins or not st.get_option("server.enableCORS"):
            return
        origin = origins[0].decode("latin-1").lower()
        own = hosts[0].decode("latin-1").lower() if hosts else ""
        allowed = {one.strip().lower() for one in st.get_option("server.corsAllowedOrigins")}
        if len(origins) > 1 or (urlsplit(origin).netloc != own and origin not in allowed):
            raise CrossSite(CrossSite.to_pages)


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for one, value in scope["headers"] if one == name]


async def _refuse(error: AppError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    refusal = PlainTextResponse(f"{error}\n", error.status)
    await refusal(scope, receive, _with_headers(send))


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            known = {name.lower() for name, _value in given}
            missing = [(name, value) for name, value in _HEADERS.items() if name not in known]
            message["headers"] = [*given, *missing]
        await send(message)

    return sent


def page_hosts() -> Hosts:
    """Return the hosts that the settings allow; wrong ones, which each page tells, allow none."""
    with suppress(ValidationError):
        settings = Settings()
        return open_hosts(settings.allowed_hosts, (settings.api_url, settings.api_public_url))
    return Hosts()
