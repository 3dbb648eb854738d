"""Which operation a request asks for, known before the router is reached."""

from __future__ import annotations

from collections.abc import Sequence
from re import Pattern
from typing import NamedTuple

from fastapi.routing import iter_route_contexts

# The router's own: where an application is mounted, it strips the prefix.
from starlette._utils import get_route_path
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import Scope


class _Route(NamedTuple):
    path: Pattern[str]
    methods: set[str] | None  # None: whatever the method is
    name: str


class Operations:
    """The operations of an application, by the names of their routes.

    The router's routes are tried, in its order: a request is no other operation's here than there.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        """Take the application's routes, all of which are there."""
        contexts = [
            one for one in iter_route_contexts(routes) if not isinstance(one.route, WebSocketRoute)
        ]
        self._routes = [
            _Route(one.path_regex, None if one.methods is None else {*one.methods}, one.name or "")
            for one in contexts
        ]
        # Most requests are for addresses without a parameter: they are looked up.
        self._plain: dict[tuple[str, str], str | None] = {
            (method, one.path or ""): self._search(method, one.path or "")
            for one in contexts
            if not one.param_convertors
            for method in one.methods or ()
        }

    def find(self, scope: Scope) -> str | None:
        """Return the name of the request's route; None where it has none."""
        method, path = scope["method"], get_route_path(scope)
        known = self._plain.get((method, path))
        return known or self._search(method, path)

    def _search(self, method: str, path: str) -> str | None:
        for route in self._routes:
            if (route.methods is None or method in route.methods) and route.path.match(path):
                return route.name
        return None
