"""The first doors: a request is for this service, and no page of another site sends it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from product_search.access.keyring import Keyring
from product_search.api.connections import WatchedApp
from product_search.api.doors.headers import AnswerHeaders
from product_search.api.doors.limits import RateLimits
from product_search.api.doors.origins import Headers, Origins
from product_search.api.doors.refusals import RefusalLog
from product_search.api.errors import answer
from product_search.errors import AppError
from product_search.hosts import Hosts, open_hosts
from product_search.settings import Settings


class Doors:
    """By what requests are let in; before the service has opened: what no setting changes."""

    def __init__(self) -> None:
        """Let in what is for this machine."""
        self.hosts = Hosts()
        self.origins = Origins()
        self.limits = RateLimits()
        self.refusals = RefusalLog()

    def open(self, settings: Settings, keyring: Keyring | None) -> None:
        """Go by the settings from now on, and by publishable keys where keys are required."""
        own = settings.api_url, settings.api_public_url
        self.hosts = open_hosts(settings.allowed_hosts, own)
        self.origins = Origins(
            settings.cors_origins,
            settings.api_public_url,
            of_keys=lambda: keyring.origins if keyring else (),
        )
        self.limits = RateLimits(settings.rate_limit)


class GuardedApp(WatchedApp):
    """An application whose answers, those of unknown errors too, have the headers of its doors."""

    def __init__(self, **of_app: Any) -> None:
        """Take what FastAPI takes; the settings are known once the service opens."""
        super().__init__(**of_app)
        self.doors = Doors()

    def build_middleware_stack(self) -> ASGIApp:
        """Return the application as it is served."""
        return AnswerHeaders(super().build_middleware_stack(), self.doors)


class FrontDoor:
    """ASGI middleware: refuses requests for other hosts and those of other sites' pages.

    It also answers browsers that ask whether a page may send a request: they bring no key.
    """

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        """Wrap the app."""
        self._app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request pass, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            preflight = self._check(scope)
        except AppError as error:
            self._doors.refusals.note(scope, error)
            await answer(error)(scope, receive, send)
            return
        if preflight is None:
            await self._app(scope, receive, send)
            return
        told = Response(status_code=204)
        told.raw_headers += preflight
        await told(scope, receive, send)

    def _check(self, scope: Scope) -> Headers | None:
        """Raise why the request is refused; return the headers that answer a preflight."""
        host, origins, site, is_preflight = [], [], [], False
        for name, value in scope["headers"]:
            if name == b"host":
                host.append(value)
            elif name == b"origin":
                origins.append(value)
            elif name == b"sec-fetch-site":
                site.append(value)
            elif name == b"access-control-request-method":
                is_preflight = scope["method"] == "OPTIONS"
        self._doors.hosts.check(host, scope["http_version"])
        if is_preflight and origins:
            return self._doors.origins.preflight(origins)
        self._doors.origins.check(scope["method"], host, origins, site)
        return None
